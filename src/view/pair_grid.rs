//! Centre: all pairs, before beside after, with class, probability and status.

use std::ops::Range;

use egui::{
    self, Align2, Color32, CornerRadius, Rect, RichText, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2,
};

use super::atlas::{Atlas, Batch};
use super::theme::{self, Tokens};
use super::widgets::percent;
use crate::classifier::probability_of;
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

/// The textures of the grid.
#[derive(Default)]
pub struct Atlases {
    before: Atlas,
    after: Atlas,
}

/// The right picture of every pair.
#[derive(Debug, Clone, Copy)]
pub enum After<'a> {
    /// That of a state; the number is another one for other pictures.
    State(u64, &'a ImageBatch),
    /// The last one that was shown, while the next is read from disk.
    Last,
    /// That before: there is no state yet.
    Before,
    /// None: the state was not kept.
    NotKept,
}

/// What the grid shows.
pub struct Shown<'a> {
    /// Numbers at the start of the path.
    pub numbers_before: Option<&'a Numbers>,
    /// Numbers at the shown state.
    pub numbers_after: Option<&'a Numbers>,
    /// The right pictures.
    pub after: After<'a>,
}

impl Atlases {
    /// Renews the pictures of the samples that are seen.
    fn update(&mut self, ui: &Ui, session: &Session, after: After<'_>, seen: &Range<usize>) {
        let Some(origins) = session.origins() else { return };
        let side = (MAX_SIDE * ui.ctx().pixels_per_point()).round() as usize;
        let epoch = session.epoch();
        let update = |atlas: &mut Atlas, key, images: &ImageBatch| {
            let batch = Batch { epoch, key, shape: images.shape() };
            atlas.update(ui.ctx(), batch, |sample| images.sample(sample), side, seen.clone());
        };
        update(&mut self.before, epoch, &origins.images);
        match after {
            After::State(key, images) => update(&mut self.after, key, images),
            After::Last | After::Before | After::NotKept => self.after.keep_only(epoch),
        }
    }
}

/// Draws the grid.
pub fn pair_grid_ui(
    ui: &mut Ui,
    session: &Session,
    atlases: &mut Atlases,
    shown: &Shown<'_>,
    actions: &mut Vec<Action>,
) {
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
        atlases.update(ui, session, shown.after, &(visible.start * columns..(visible.end * columns).min(n)));
        for row in visible {
            ui.horizontal(|ui| {
                for sample in row * columns..((row + 1) * columns).min(n) {
                    cell_ui(ui, session, (atlases, shown), sample, (cell, side), actions);
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
    (atlases, shown): (&Atlases, &Shown<'_>),
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
    atlases.before.paint(painter, left, sample);
    match shown.after {
        After::State(..) | After::Last => atlases.after.paint(painter, right, sample),
        After::Before => atlases.before.paint(painter, right, sample),
        After::NotKept => {
            painter.rect_filled(right, CornerRadius::ZERO, tokens.plate);
            let font = egui::FontId::proportional(11.0);
            painter.text(right.center(), Align2::CENTER_CENTER, "not kept", font, tokens.before);
        }
    }
    let probability = |numbers: &Numbers| probability_of(numbers.logits_of(sample), target);
    let (before, after) = (shown.numbers_before.map(probability), shown.numbers_after.map(probability));
    caption(ui, &tokens, rect, left.bottom(), (&format!("{sample}"), &class), (before, after));
    let state = shown.numbers_after.and_then(|numbers| numbers.state.get(sample)).copied().unwrap_or_default();
    if state != SampleState::Active {
        let font = egui::FontId::proportional(11.0);
        let color = badge_color(state, &tokens);
        let galley = painter.layout_no_wrap(state.words().label.to_owned(), font, color);
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

/// The colour of the badge of a sample that rests.
const fn badge_color(state: SampleState, tokens: &Tokens) -> Color32 {
    match state {
        SampleState::Active | SampleState::Stopped => tokens.info,
        SampleState::ZeroGradient => tokens.warning,
        SampleState::NotFinite => tokens.error,
    }
}
