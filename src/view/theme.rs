//! Colours and sizes by role, dark and light. No other file of the window names a colour.

use egui::{Color32, FontId, TextStyle, Theme, Visuals};

/// Space between groups of controls, in points.
pub const GAP: f32 = 5.0;
/// Width of the panel with settings.
pub const SETTINGS_WIDTH: f32 = 276.0;
/// Width of the panel about one sample.
pub const SAMPLE_WIDTH: f32 = 272.0;
/// Height of the line of messages.
pub const MESSAGES_HEIGHT: f32 = 22.0;
/// Height of the timeline.
pub const TIMELINE_HEIGHT: f32 = 168.0;

/// Colours by role. As text, each has the contrast that small text needs on every ground of its theme, see the test below.
#[derive(Debug, Clone, Copy)]
pub struct Tokens {
    /// What the picture was before.
    pub before: Color32,
    /// What it is after; also the accent of the program.
    pub after: Color32,
    /// Text on a plate of the accent's colour.
    pub on_after: Color32,
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
    on_after: Color32::from_rgb(20, 23, 27),
    info: Color32::from_rgb(120, 170, 235),
    warning: Color32::from_rgb(232, 178, 80),
    error: Color32::from_rgb(240, 110, 100),
    limit: Color32::from_rgb(222, 150, 110),
    plate: Color32::from_rgb(20, 23, 27),
    grid: Color32::from_rgb(52, 57, 64),
};

const LIGHT: Tokens = Tokens {
    before: Color32::from_rgb(88, 98, 114),
    after: Color32::from_rgb(0, 112, 96),
    on_after: Color32::WHITE,
    info: Color32::from_rgb(30, 98, 190),
    warning: Color32::from_rgb(142, 86, 0),
    error: Color32::from_rgb(190, 40, 32),
    limit: Color32::from_rgb(158, 74, 24),
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
    // Where frames are slow, in software, a press and its release can be seen a second apart; it is a click all the same.
    ctx.options_mut(|options| {
        options.input_options.max_click_duration = 10.0;
        options.input_options.max_double_click_delay = 0.5;
    });
    let dark = Visuals {
        panel_fill: Color32::from_rgb(28, 31, 36),
        window_fill: Color32::from_rgb(34, 38, 44),
        extreme_bg_color: DARK.plate,
        // Seen on panels and on windows.
        faint_bg_color: Color32::from_rgb(43, 48, 55),
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
        // egui's own greys are below the contrast that small text needs.
        let (text, weak) = match theme {
            Theme::Dark => (Color32::from_rgb(196, 200, 206), Color32::from_rgb(170, 176, 184)),
            Theme::Light => (Color32::from_rgb(50, 54, 60), Color32::from_rgb(92, 96, 102)),
        };
        visuals.widgets.noninteractive.fg_stroke.color = text;
        visuals.weak_text_color = Some(weak);
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
        // A tip is asked for by waiting: it is not to lie on the pictures that one tunes by.
        style.interaction.tooltip_delay = 0.8;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of WCAG 2.
    fn luminance(color: Color32) -> f32 {
        let [r, g, b, _] = egui::Rgba::from(color).to_array();
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(a: Color32, b: Color32) -> f32 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    /// A translucent colour as it is seen over an opaque one.
    fn over(color: Color32, ground: Color32) -> Color32 {
        ground.blend(color)
    }

    #[test]
    fn all_text_has_the_contrast_of_small_text_in_both_themes() {
        let ctx = egui::Context::default();
        install(&ctx);
        for (theme, tokens) in [(Theme::Dark, DARK), (Theme::Light, LIGHT)] {
            let visuals = &ctx.style_of(theme).visuals;
            let Tokens { before, after, on_after, info, warning, error, limit, plate, grid: _ } = tokens;
            let texts = [visuals.text_color(), visuals.weak_text_color(), visuals.strong_text_color()];
            let texts = texts.into_iter().chain([before, after, info, warning, error, limit]);
            let grounds =
                [visuals.panel_fill, visuals.window_fill, visuals.extreme_bg_color, visuals.faint_bg_color, plate];
            let mut pairs: Vec<_> = texts.flat_map(|text| grounds.map(|ground| (text, ground))).collect();
            pairs.push((on_after, after));
            let widgets = &visuals.widgets;
            for state in [&widgets.inactive, &widgets.hovered, &widgets.active, &widgets.open] {
                pairs.push((state.text_color(), state.weak_bg_fill));
            }
            // Shortcuts in menus, and what is selected.
            pairs.push((visuals.weak_text_color(), widgets.hovered.weak_bg_fill));
            let chosen = over(visuals.selection.bg_fill, visuals.panel_fill);
            pairs.push((visuals.selection.stroke.color, chosen));
            for (text, ground) in pairs {
                let found = contrast(text, ground);
                assert!(found >= 4.5, "{theme:?}: {text:?} on {ground:?} has {found:.2}:1");
            }
        }
    }
}
