//! Colours and sizes by role, dark and light. No other file of the window names a colour.

use egui::{Color32, FontId, TextStyle, Theme, Visuals};

/// Space between groups of controls, in points.
pub const GAP: f32 = 5.0;
/// Width of the panel with settings.
pub const SETTINGS_WIDTH: f32 = 276.0;
/// Width of the panel about one sample.
pub const SAMPLE_WIDTH: f32 = 272.0;
/// Height of the timeline.
pub const TIMELINE_HEIGHT: f32 = 168.0;

/// Colours by role.
#[derive(Debug, Clone, Copy)]
pub struct Tokens {
    /// What the picture was before.
    pub before: Color32,
    /// What it is after; also the accent of the program.
    pub after: Color32,
    /// Good to know.
    pub info: Color32,
    /// Worth attention.
    pub warning: Color32,
    /// Failed.
    pub error: Color32,
    /// Limits in plots, such as the radius.
    pub limit: Color32,
    /// Plate behind a plot.
    pub plate: Color32,
    /// Lines of a plot.
    pub grid: Color32,
}

const DARK: Tokens = Tokens {
    before: Color32::from_rgb(150, 160, 176),
    after: Color32::from_rgb(92, 200, 176),
    info: Color32::from_rgb(120, 170, 235),
    warning: Color32::from_rgb(232, 178, 80),
    error: Color32::from_rgb(240, 110, 100),
    limit: Color32::from_rgb(222, 150, 110),
    plate: Color32::from_rgb(20, 23, 27),
    grid: Color32::from_rgb(52, 57, 64),
};

const LIGHT: Tokens = Tokens {
    before: Color32::from_rgb(104, 114, 130),
    after: Color32::from_rgb(0, 122, 104),
    info: Color32::from_rgb(30, 98, 190),
    warning: Color32::from_rgb(160, 98, 0),
    error: Color32::from_rgb(190, 40, 32),
    limit: Color32::from_rgb(176, 84, 30),
    plate: Color32::from_rgb(250, 250, 249),
    grid: Color32::from_rgb(216, 218, 221),
};

/// The colours of the theme in use.
#[must_use]
pub fn tokens(ui: &egui::Ui) -> Tokens {
    if ui.visuals().dark_mode { DARK } else { LIGHT }
}

/// Sets fonts, spacing and colours of both themes.
pub fn install(ctx: &egui::Context) {
    let dark = Visuals {
        panel_fill: Color32::from_rgb(28, 31, 36),
        window_fill: Color32::from_rgb(34, 38, 44),
        extreme_bg_color: DARK.plate,
        faint_bg_color: Color32::from_rgb(34, 38, 44),
        ..Visuals::dark()
    };
    let light = Visuals {
        panel_fill: Color32::from_rgb(243, 243, 241),
        window_fill: Color32::from_rgb(252, 252, 251),
        extreme_bg_color: Color32::from_rgb(255, 255, 255),
        faint_bg_color: Color32::from_rgb(235, 236, 235),
        ..Visuals::light()
    };
    for (theme, mut visuals, tokens) in [(Theme::Dark, dark, DARK), (Theme::Light, light, LIGHT)] {
        visuals.selection.bg_fill = tokens.after.gamma_multiply(if theme == Theme::Dark { 0.45 } else { 0.35 });
        visuals.selection.stroke.color = visuals.strong_text_color();
        visuals.hyperlink_color = tokens.info;
        visuals.warn_fg_color = tokens.warning;
        visuals.error_fg_color = tokens.error;
        visuals.slider_trailing_fill = true;
        if theme == Theme::Dark {
            // egui's own grey is below the contrast that small text needs.
            visuals.widgets.noninteractive.fg_stroke.color = Color32::from_rgb(196, 200, 206);
        } else {
            visuals.widgets.noninteractive.fg_stroke.color = Color32::from_rgb(50, 54, 60);
        }
        ctx.set_visuals_of(theme, visuals);
    }
    // Hack has the arrows and norms that the text font lacks.
    let mut fonts = egui::FontDefinitions::default();
    if fonts.font_data.contains_key("Hack") {
        fonts.families.entry(egui::FontFamily::Proportional).or_default().push("Hack".to_owned());
    }
    ctx.set_fonts(fonts);
    ctx.all_styles_mut(|style| {
        style.spacing.item_spacing = egui::vec2(6.0, 4.0);
        style.spacing.slider_width = 118.0;
        style.spacing.interact_size.y = 20.0;
        // A hovered scroll bar does not lie on the controls beside it.
        style.spacing.scroll.floating_allocated_width = 8.0;
        style.text_styles = [
            (TextStyle::Small, FontId::proportional(11.0)),
            (TextStyle::Body, FontId::proportional(13.0)),
            (TextStyle::Button, FontId::proportional(13.0)),
            (TextStyle::Heading, FontId::proportional(15.0)),
            (TextStyle::Monospace, FontId::monospace(12.0)),
        ]
        .into();
    });
}
