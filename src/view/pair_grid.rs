//! Centre: all pairs, before beside after, with class, probability and status.

use eframe::egui::{
    self, Align2, Color32, ColorImage, CornerRadius, Rect, RichText, Role, Sense, Stroke, StrokeKind, TextureHandle,
    TextureOptions, Ui, WidgetInfo, pos2, vec2,
};

use super::theme::{self, Tokens};
use super::widgets::percent;
use crate::classifier::probabilities;
use crate::image::ImageBatch;
use crate::refiner::{Numbers, SampleState};
use crate::session::{Action, Session};

/// Space between the two pictures of a pair.
const PAIR_GAP: f32 = 3.0;
/// Height of the two lines of text under a pair.
const CAPTION: f32 = 34.0;
/// Padding inside a cell.
const PADDING: f32 = 6.0;
/// Space between cells.
const CELL_GAP: f32 = 6.0;
/// Smallest side of a picture, in points.
const MIN_SIDE: f32 = 48.0;
/// Largest side of a picture, in points.
const MAX_SIDE: f32 = 144.0;

/// A batch as one texture.
#[derive(Default)]
pub struct Atlas {
    texture: Option<TextureHandle>,
    key: Option<u64>,
    columns: usize,
    rows: usize,
}

impl Atlas {
    /// Uploads the batch when `key` differs from what the texture shows.
    pub fn update(&mut self, ctx: &egui::Context, name: &str, key: u64, images: &ImageBatch) {
        if self.key == Some(key) || images.is_empty() {
            return;
        }
        let [n, _, h, w] = images.shape();
        self.columns = (n as f64).sqrt().ceil() as usize;
        self.rows = n.div_ceil(self.columns);
        let mut pixels = vec![Color32::TRANSPARENT; self.columns * w * self.rows * h];
        for i in 0..n {
            let (left, top) = (i % self.columns * w, i / self.columns * h);
            for (j, rgba) in images.rgba8(i).as_chunks::<4>().0.iter().enumerate() {
                let [r, g, b, _] = *rgba;
                pixels[(top + j / w) * self.columns * w + left + j % w] = Color32::from_rgb(r, g, b);
            }
        }
        let image = ColorImage::new([self.columns * w, self.rows * h], pixels);
        match &mut self.texture {
            Some(texture) => texture.set(image, TextureOptions::NEAREST),
            None => self.texture = Some(ctx.load_texture(name, image, TextureOptions::NEAREST)),
        }
        self.key = Some(key);
    }

    /// Forgets what is shown.
    pub const fn invalidate(&mut self) {
        self.key = None;
    }

    fn paint(&self, painter: &egui::Painter, rect: Rect, sample: usize) {
        let Some(texture) = self.texture.as_ref().filter(|_| self.columns > 0) else { return };
        let size = vec2(1.0 / self.columns as f32, 1.0 / self.rows as f32);
        let min = pos2((sample % self.columns) as f32 * size.x, (sample / self.columns) as f32 * size.y);
        painter.image(texture.id(), rect, Rect::from_min_size(min, size), Color32::WHITE);
    }
}

/// What the grid shows: numbers at the start and at the shown state.
pub struct Shown<'a> {
    /// At the start of the path.
    pub before: Option<&'a Numbers>,
    /// At the shown state.
    pub after: Option<&'a Numbers>,
    /// The pictures before.
    pub before_atlas: &'a Atlas,
    /// The pictures after; `None` while they are read from disk or when they were not kept.
    pub after_atlas: Option<&'a Atlas>,
}

/// Draws the grid.
pub fn pair_grid_ui(ui: &mut Ui, session: &Session, shown: &Shown<'_>, actions: &mut Vec<Action>) {
    let Some(origins) = session.origins() else { return };
    let n = origins.labels.len();
    let [_, _, h, w] = origins.images.shape();
    let side = side(ui, n, w.max(h));
    let cell = vec2(2.0 * side + PAIR_GAP + 2.0 * PADDING, side + CAPTION + 2.0 * PADDING);
    let columns = columns(ui.available_width(), cell.x);
    let rows = n.div_ceil(columns);
    header_ui(ui, session, n);
    egui::ScrollArea::vertical().auto_shrink([false, false]).show_rows(ui, cell.y, rows, |ui, visible| {
        ui.spacing_mut().item_spacing = vec2(CELL_GAP, CELL_GAP);
        for row in visible {
            ui.horizontal(|ui| {
                for sample in row * columns..((row + 1) * columns).min(n) {
                    cell_ui(ui, session, shown, sample, (cell, side), actions);
                }
            });
        }
    });
}

fn columns(width: f32, cell: f32) -> usize {
    (((width + CELL_GAP) / (cell + CELL_GAP)) as usize).max(1)
}

/// The largest side, in whole multiples of the picture's own, at which all pairs fit; else a readable one.
fn side(ui: &Ui, n: usize, pixels: usize) -> f32 {
    let scale = ui.ctx().pixels_per_point();
    let native = pixels.max(1) as f32 / scale;
    let available = ui.available_size() - vec2(12.0, 30.0);
    let fits = |side: f32| {
        let cell = vec2(2.0 * side + PAIR_GAP + 2.0 * PADDING + CELL_GAP, side + CAPTION + 2.0 * PADDING + CELL_GAP);
        let columns = ((available.x / cell.x) as usize).max(1);
        n.div_ceil(columns) as f32 * cell.y <= available.y
    };
    // Enlarged by whole numbers, so that every pixel is as wide as its neighbour.
    let smallest = if native > MAX_SIDE { MAX_SIDE } else { (MIN_SIDE / native).ceil() * native };
    let mut best = smallest;
    let mut side = smallest + native;
    while side <= MAX_SIDE {
        if fits(side) {
            best = side;
        }
        side += native;
    }
    best
}

fn header_ui(ui: &mut Ui, session: &Session, n: usize) {
    ui.horizontal(|ui| {
        let what = match session.origins() {
            Some(origins) if origins.edited.is_some() => "edited",
            Some(origins) if !origins.names.is_empty() => "opened",
            _ => "generated",
        };
        let after = match session.shown() {
            last if session.shows_best() => format!("best of {last} iterations"),
            iteration => format!("iteration {iteration}"),
        };
        ui.label(RichText::new(format!("{n} pairs: {what} | {after}")).weak());
        if let Some(first) = session.fits.first() {
            let more =
                if session.fits.len() > 1 { format!(" (+{} more)", session.fits.len() - 1) } else { String::new() };
            ui.label(RichText::new(format!("{first}{more}")).weak()).on_hover_text(session.fits.join("\n"));
        }
    });
}

fn cell_ui(
    ui: &mut Ui,
    session: &Session,
    shown: &Shown<'_>,
    sample: usize,
    (size, side): (egui::Vec2, f32),
    actions: &mut Vec<Action>,
) {
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    if response.clicked() {
        actions.push(Action::Select(sample));
    }
    let Some(origins) = session.origins() else { return };
    let target = session.target(sample);
    let class = session.class_name(target);
    let before = shown.before.map(|numbers| probability(numbers, sample, target));
    let after = shown.after.map(|numbers| probability(numbers, sample, target));
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Pair {sample}: {class}")));
    if !ui.is_rect_visible(rect) {
        return;
    }
    let tokens = theme::tokens(ui);
    let painter = ui.painter();
    let focused = session.focused() == sample;
    let fill = if response.hovered() || focused { ui.visuals().faint_bg_color } else { Color32::TRANSPARENT };
    painter.rect_filled(rect, CornerRadius::same(4), fill);
    if focused {
        let stroke = Stroke::new(1.0, tokens.after);
        painter.rect_stroke(rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
    }
    let ppp = ui.ctx().pixels_per_point();
    let snap = |value: f32| (value * ppp).round() / ppp;
    let corner = pos2(snap(rect.left() + PADDING), snap(rect.top() + PADDING));
    let left = Rect::from_min_size(corner, vec2(side, side));
    let right = left.translate(vec2(side + PAIR_GAP, 0.0));
    shown.before_atlas.paint(painter, left, sample);
    match shown.after_atlas {
        Some(atlas) => atlas.paint(painter, right, sample),
        None => {
            painter.rect_filled(right, CornerRadius::ZERO, tokens.plate);
            let font = egui::FontId::proportional(11.0);
            painter.text(right.center(), Align2::CENTER_CENTER, "not kept", font, tokens.before);
        }
    }
    caption(ui, &tokens, rect, left.bottom(), (&format!("{sample}"), &class), (before, after));
    let state = shown.after.and_then(|numbers| numbers.state.get(sample)).copied().unwrap_or_default();
    if let Some((text, color)) = badge(state, &tokens) {
        let font = egui::FontId::proportional(11.0);
        let galley = painter.layout_no_wrap(text.to_owned(), font, color);
        let plate = Rect::from_min_size(right.min + vec2(3.0, 3.0), galley.size() + vec2(6.0, 2.0));
        painter.rect_filled(plate, CornerRadius::same(3), tokens.plate.gamma_multiply(0.85));
        painter.galley(plate.min + vec2(3.0, 1.0), galley, color);
    }
    response.on_hover_ui(|ui| {
        ui.label(RichText::new(format!("Sample {sample}: {class}")).strong());
        ui.label(format!("Seed {}", origins.seeds[sample]));
        if let Some(name) = origins.names.get(sample) {
            ui.label(name);
        }
        ui.label("Click to open it on the canvas");
    });
}

fn caption(
    ui: &Ui,
    tokens: &Tokens,
    rect: Rect,
    top: f32,
    (number, class): (&str, &str),
    (before, after): (Option<f32>, Option<f32>),
) {
    let painter = ui.painter().with_clip_rect(rect.shrink(PADDING / 2.0).intersect(ui.clip_rect()));
    let font = egui::FontId::proportional(12.0);
    let strong = ui.visuals().strong_text_color();
    let weak = ui.visuals().weak_text_color();
    let line = |text: String, color| {
        let mut job = egui::text::LayoutJob::simple_singleline(text, font.clone(), color);
        job.wrap = egui::text::TextWrapping::truncate_at_width(rect.width() - 2.0 * PADDING);
        painter.layout_job(job)
    };
    let first = line(format!("{number}  {class}"), strong);
    painter.galley(pos2(rect.left() + PADDING, top + 3.0), first, strong);
    let (text, color) = match (before, after) {
        (Some(before), Some(after)) => {
            let color = if after + 5e-4 < before { tokens.warning } else { tokens.after };
            (format!("p {} → {}", percent(before), percent(after)), color)
        }
        _ => ("p …".to_owned(), weak),
    };
    painter.galley(pos2(rect.left() + PADDING, top + 18.0), line(text, color), color);
}

fn badge(state: SampleState, tokens: &Tokens) -> Option<(&'static str, Color32)> {
    match state {
        SampleState::Active => None,
        SampleState::ZeroGradient => Some(("no gradient", tokens.warning)),
        SampleState::NotFinite => Some(("not a number", tokens.error)),
        SampleState::Stopped => Some(("early stop", tokens.info)),
    }
}

fn probability(numbers: &Numbers, sample: usize, target: usize) -> f32 {
    probabilities(numbers.logits_of(sample)).get(target).copied().unwrap_or(f32::NAN)
}
