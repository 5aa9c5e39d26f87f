//! Centre: all pairs, before beside after, with class, probability and status.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use egui::{
    self, Align2, Color32, CornerRadius, Pos2, Rect, RichText, Role, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo,
    pos2, vec2,
};

use super::atlas::{Atlas, Batch};
use super::export_menu::sample_menu_ui;
use super::focus;
use super::grid_order::Order;
use super::theme::{self, Tokens};
use super::widgets::percent;
use crate::classifier::probability_of;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{Numbers, SampleState};
use crate::session::{Action, Lookup, Session};
use crate::trace::StateId;
use crate::trace::summary::{Tally, gain, is_loss};
use crate::units::counted;

/// Space between the two pictures of a pair.
const PAIR_GAP: f32 = 3.0;
/// Height of the two lines of text under a pair.
const CAPTION: f32 = 34.0;
/// Padding inside a cell.
const PADDING: f32 = 6.0;
/// Space between cells.
const CELL_GAP: f32 = 6.0;
/// Height of the line that says which side is which.
const HEADS: f32 = 15.0;
/// Smallest and largest longer side of a picture, in points: two of the smallest have room for what stands below them.
const SIDE: (f32, f32) = (47.0, 1024.0);
/// Part of the room that may stay empty for the sake of pixels that fit the screen's.
const FOR_WHOLE_PIXELS: f32 = 0.93;

/// The grid: its textures, and how it is arranged.
#[derive(Default)]
pub struct PairGrid {
    before: Atlas,
    after: Atlas,
    order: Order,
    /// Longer side of a picture, in points; none to fill the room.
    side: Option<f32>,
    /// The sample that was marked last; another one is scrolled to.
    marked: Option<usize>,
}

/// The right picture of every pair.
#[derive(Debug, Clone, Copy)]
pub enum After<'a> {
    /// That of a state; the number is another one for other pictures.
    State(u64, &'a ImageBatch),
    /// The last one that was shown, while the next is read from disk.
    Last,
    /// That before: there is no state yet, or it is asked for.
    Before,
    /// None: the state was not kept.
    NotKept,
}

impl<'a> After<'a> {
    /// Of the state that is shown, unless one looks at the pictures before for a moment.
    #[must_use]
    pub fn of(session: &Session, shown: Option<&'a (StateId, Lookup)>, peeks: bool) -> Self {
        match shown.filter(|_| !peeks) {
            Some((id, Lookup::Ready(state))) => {
                let mut name = DefaultHasher::new();
                (session.epoch(), id, session.shows_best()).hash(&mut name);
                Self::State(name.finish(), &state.images)
            }
            Some((_, Lookup::Loading)) => Self::Last,
            Some((_, Lookup::Missing)) => Self::NotKept,
            None => Self::Before,
        }
    }
}

/// What the grid shows.
pub struct Shown<'a> {
    /// The state on the screen.
    pub id: Option<StateId>,
    /// Numbers of what stands left: at the start of the path.
    pub numbers_before: Option<&'a Numbers>,
    /// Numbers at the shown state.
    pub numbers_after: Option<&'a Numbers>,
    /// All samples together.
    pub tally: Option<Tally>,
    /// The right pictures.
    pub after: After<'a>,
    /// The pictures before are looked at for a moment.
    pub peeks: bool,
}

/// How large the cells are, and how many stand in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    /// A picture, in points.
    picture: Vec2,
    columns: usize,
}

impl Layout {
    /// Of `n` pairs in `room`, whose pictures have `pixels`; the largest that fit, or as large as `side` says. Where even the
    /// smallest do not fit, the grid scrolls.
    fn new(room: Vec2, n: usize, pixels: Vec2, side: Option<f32>, scale: f32) -> Self {
        let longest = pixels.max_elem().max(1.0);
        let shape = pixels / longest;
        let room = room + Vec2::splat(CELL_GAP);
        // What a cell holds besides its two pictures.
        let frame = vec2(PAIR_GAP, CAPTION) + Vec2::splat(2.0 * PADDING + CELL_GAP);
        let fitting = |columns: usize| {
            let cell = room / vec2(columns as f32, n.div_ceil(columns) as f32) - frame;
            (cell.x / 2.0 / shape.x).min(cell.y / shape.y)
        };
        let widest = (room.x - frame.x) / 2.0 / shape.x;
        let filling = (1..=n.max(1)).map(fitting).fold(0.0, f32::max);
        let side = side.unwrap_or(filling).min(widest).clamp(SIDE.0, SIDE.1);
        // In pixels of the screen; whole ones of theirs for each of the picture's where that costs little.
        let screen = (side * scale).floor();
        let whole = (screen / longest).floor() * longest;
        let screen = if whole >= FOR_WHOLE_PIXELS * screen { whole } else { screen };
        let picture = shape * screen / scale;
        let columns = (room.x / (2.0 * picture.x + frame.x)) as usize;
        Self { picture, columns: columns.clamp(1, n.max(1)) }
    }

    fn cell(&self) -> Vec2 {
        self.picture * vec2(2.0, 1.0) + vec2(PAIR_GAP, CAPTION) + Vec2::splat(2.0 * PADDING)
    }

    fn width(&self) -> f32 {
        self.columns as f32 * (self.cell().x + CELL_GAP) - CELL_GAP
    }
}

/// What pictures are called that an edit has on their way.
pub const UNDER_WAY: &str = "editing";

/// What stands left: edited pictures are shown beside what they were edited from, until they are refined.
struct Left<'a> {
    images: &'a ImageBatch,
    /// What left and right are called.
    heads: [&'static str; 2],
    is_reference: bool,
}

impl<'a> Left<'a> {
    fn of(session: &Session, origins: &'a Origins, peeks: bool) -> Self {
        let is_edited = session.preview().is_some();
        match origins.input().filter(|_| session.shown() == 0) {
            Some(images) if is_edited => Self { images, heads: ["input", UNDER_WAY], is_reference: true },
            Some(images) => Self { images, heads: ["input", "edited"], is_reference: true },
            None => {
                let after = if is_edited { UNDER_WAY } else { "after" };
                let heads = ["before", if peeks { "before" } else { after }];
                Self { images: &origins.images, heads, is_reference: false }
            }
        }
    }
}

impl PairGrid {
    /// Keeps the order up, also while a picture is on the canvas in place of the grid; `id` is the state on the screen, and the
    /// numbers are those before and after it.
    pub fn keep_order(
        &mut self,
        session: &Session,
        id: Option<StateId>,
        numbers: (Option<&Numbers>, Option<&Numbers>),
    ) {
        if session.origins().is_some() {
            self.order.update(session, id, numbers);
        }
    }

    /// The samples that it shows, in their order.
    pub fn samples(&self) -> &[usize] {
        self.order.samples()
    }
}

/// Draws the grid.
pub fn pair_grid_ui(ui: &mut Ui, session: &Session, grid: &mut PairGrid, shown: &Shown<'_>, actions: &mut Vec<Action>) {
    let Some(origins) = session.origins() else { return };
    let left = Left::of(session, origins, shown.peeks);
    header_ui(ui, session, shown);
    arrange_ui(ui, session, grid);
    grid.order.update(session, shown.id, (shown.numbers_before, shown.numbers_after));
    let [_, _, h, w] = origins.images.shape();
    let n = grid.order.samples().len();
    let room = ui.available_size() - vec2(10.0, HEADS + CELL_GAP);
    let zoom = ui.input(egui::InputState::zoom_delta);
    let scale = ui.pixels_per_point();
    let layout = Layout::new(room, n, vec2(w as f32, h as f32), grid.side, scale);
    if (zoom - 1.0).abs() > f32::EPSILON && ui.rect_contains_pointer(ui.available_rect_before_wrap()) {
        grid.side = Some((layout.picture.max_elem() * zoom).clamp(SIDE.0, SIDE.1));
    }
    let margin = ((room.x - layout.width()) / 2.0).max(0.0);
    heads_ui(ui, margin, &layout, left.heads);
    let rows = n.div_ceil(layout.columns);
    // A list that scrolls keeps its place when other pictures come.
    let scroll = egui::ScrollArea::vertical().auto_shrink([false, false]);
    ui.spacing_mut().item_spacing = vec2(CELL_GAP, CELL_GAP);
    scroll.show_rows(ui, layout.cell().y, rows, |ui, visible| {
        let PairGrid { before, after, order, marked, .. } = &mut *grid;
        let samples = order.samples();
        let place = samples.iter().position(|sample| *sample == session.focused());
        if marked.replace(session.focused()) != Some(session.focused())
            && let Some(place) = place
        {
            let rows_below = (place / layout.columns) as f32 - visible.start as f32;
            let top = ui.max_rect().top() + rows_below * (layout.cell().y + CELL_GAP);
            let row = Rect::from_min_size(pos2(ui.max_rect().left(), top), vec2(1.0, layout.cell().y));
            ui.scroll_to_rect_animation(row, None, egui::style::ScrollAnimation::none());
        }
        let seen = &samples[visible.start * layout.columns..(visible.end * layout.columns).min(n)];
        let side = (layout.picture.max_elem() * scale).round() as usize;
        let epoch = session.epoch();
        let update = |atlas: &mut Atlas, key, images: &ImageBatch| {
            let batch = Batch { epoch, key, shape: images.shape() };
            atlas.update(ui.ctx(), batch, |sample| images.sample(sample), side, seen);
        };
        update(before, u64::from(left.is_reference), left.images);
        match shown.after {
            After::State(key, images) => update(after, key, images),
            After::Last | After::Before | After::NotKept => after.keep_only(epoch),
        }
        for row in seen.chunks(layout.columns) {
            ui.horizontal(|ui| {
                ui.add_space(margin);
                for sample in row {
                    cell_ui(ui, session, (before, after, shown), *sample, &layout, actions);
                }
            });
        }
        focus::scroll_to(ui);
    });
}

fn header_ui(ui: &mut Ui, session: &Session, shown: &Shown<'_>) {
    let what = match session.origins() {
        Some(origins) if origins.edited.is_some() => "edited",
        Some(origins) if !origins.names.is_empty() => "opened",
        _ => "generated",
    };
    let after = match session.shown() {
        last if session.shows_best() => format!("best of {}", counted(last, "iteration")),
        iteration => format!("iteration {iteration}"),
    };
    let n = session.count();
    // One line, however narrow the window is: nothing below moves. What does not fit is in the tip.
    ui.horizontal(|ui| {
        let pairs = if n == 1 { "pair" } else { "pairs" };
        ui.label(RichText::new(format!("{n} {pairs}: {what} | {after}")).strong());
        let (mut words, mut about) = (Vec::new(), Vec::new());
        if let Some(tally) = shown.tally.filter(|_| session.shown() > 0) {
            let Tally { probability: [was, is], improved, on_edge, .. } = tally;
            let mean = format!("mean p {} → {}, {improved} better", percent(was.mean), percent(is.mean));
            let edge = on_edge.map_or_else(String::new, |count| format!(", {count} on the edge"));
            words.push(format!("{mean}{edge}"));
            about.extend(words.clone());
            about.push("Mean probability of the target class before and after; pictures whose own became better; pictures that use the whole radius".to_owned());
        }
        if let Some(first) = session.fits.first() {
            let more =
                if session.fits.len() > 1 { format!(" (+{} more)", session.fits.len() - 1) } else { String::new() };
            words.push(format!("{first}{more}"));
            about.extend(session.fits.clone());
        }
        if !words.is_empty() {
            ui.add(egui::Label::new(words.join("  ")).truncate()).on_hover_text(about.join("\n"));
        }
    });
}

/// How the grid is arranged.
fn arrange_ui(ui: &mut Ui, session: &Session, grid: &mut PairGrid) {
    ui.horizontal_wrapped(|ui| {
        grid.order.ui(ui, session);
        ui.separator();
        let about = "Size of the pictures; also by the wheel with Ctrl held";
        ui.label("Size").on_hover_text(about);
        let mut side = grid.side.unwrap_or(0.0);
        ui.spacing_mut().slider_width = 48.0;
        let slider = egui::Slider::new(&mut side, 0.0..=384.0).show_value(false);
        let response = ui.add(slider).on_hover_text(about);
        super::widgets::name(&response, Role::Slider, "Size of the pictures");
        if response.changed() {
            grid.side = (side >= SIDE.0).then_some(side);
        }
        let fit = ui.selectable_label(grid.side.is_none(), "Fill").on_hover_text("As large as all pairs fit");
        if fit.clicked() {
            grid.side = None;
        }
    });
}

/// Which side is which, above every column.
fn heads_ui(ui: &mut Ui, margin: f32, layout: &Layout, heads: [&str; 2]) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), HEADS), Sense::hover());
    let painter = ui.painter_at(rect);
    let color = theme::tokens(ui).before;
    for column in 0..layout.columns {
        let cell = rect.left() + margin + column as f32 * (layout.cell().x + CELL_GAP) + PADDING;
        for (side, head) in heads.into_iter().enumerate() {
            let centre = cell + (side as f32 + 0.5) * layout.picture.x + side as f32 * PAIR_GAP;
            let at = pos2(centre, rect.bottom());
            painter.text(at, Align2::CENTER_BOTTOM, head, egui::FontId::proportional(11.5), color);
        }
    }
}

fn cell_ui(
    ui: &mut Ui,
    session: &Session,
    (before, after, shown): (&Atlas, &Atlas, &Shown<'_>),
    sample: usize,
    layout: &Layout,
    actions: &mut Vec<Action>,
) {
    let (rect, response) = ui.allocate_exact_size(layout.cell(), Sense::click());
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
    let snap = |at: Pos2| (at.to_vec2() * ppp).round() / ppp;
    let left = Rect::from_min_size(snap(rect.min + Vec2::splat(PADDING)).to_pos2(), layout.picture);
    let beside = left.min + vec2(layout.picture.x + PAIR_GAP, 0.0);
    let right = Rect::from_min_size(snap(beside).to_pos2(), layout.picture);
    before.paint(painter, left, sample);
    match shown.after {
        After::State(..) | After::Last => after.paint(painter, right, sample),
        After::Before => before.paint(painter, right, sample),
        After::NotKept => {
            painter.rect_filled(right, CornerRadius::ZERO, tokens.plate);
            let font = egui::FontId::proportional(11.0);
            painter.text(right.center(), Align2::CENTER_CENTER, "not kept", font, tokens.before);
        }
    }
    let probability = |numbers: &Numbers| probability_of(numbers.logits_of(sample), target);
    let (was, is) = (shown.numbers_before.map(probability), shown.numbers_after.map(probability));
    let loss = was.zip(is).is_some_and(|(was, is)| is_loss(gain(was, is, session.settings().refine.target)));
    // The class of an opened picture is known once it was valued.
    let label = if session.awaits_verdict() { "class not known yet".to_owned() } else { class };
    caption(ui, &tokens, rect, left.bottom(), (&format!("{sample}"), &label), (was, is, loss));
    let state = shown.numbers_after.and_then(|numbers| numbers.state.get(sample)).copied().unwrap_or_default();
    if state != SampleState::Active {
        let font = egui::FontId::proportional(11.0);
        let color = badge_color(state, &tokens);
        let galley = painter.layout_no_wrap(state.words().label.to_owned(), font, color);
        let plate = Rect::from_min_size(right.min + vec2(3.0, 3.0), galley.size() + vec2(6.0, 2.0));
        painter.rect_filled(plate, CornerRadius::same(3), tokens.plate.gamma_multiply(0.85));
        painter.galley(plate.min + vec2(3.0, 1.0), galley, color);
    }
    response.context_menu(|ui| sample_menu_ui(ui, session, sample, actions));
    response.on_hover_ui(|ui| {
        ui.label(RichText::new(format!("Sample {sample}: {label}")).strong());
        ui.label(origins.names.get(sample).map_or_else(|| format!("Seed {}", origins.seeds[sample]), Clone::clone));
        ui.label("Click to open it on the canvas, right click to copy or save it");
    });
}

fn caption(
    ui: &Ui,
    tokens: &Tokens,
    rect: Rect,
    top: f32,
    (number, class): (&str, &str),
    (before, after, loss): (Option<f32>, Option<f32>, bool),
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
            (format!("p {} → {}", percent(before), percent(after)), if loss { tokens.warning } else { tokens.after })
        }
        // Of what stands left nothing is known.
        (None, Some(after)) => (format!("p {}", percent(after)), strong),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::generator::EditSettings;
    use crate::origins::Edited;
    use crate::refiner::State;
    use crate::session::{Settings, Verb};
    use crate::trace::RunId;
    use crate::worker::{Command, Event};

    #[test]
    fn pictures_fill_the_room_whatever_their_number_and_its_size() {
        let pixels = Vec2::splat(32.0);
        for room in [vec2(400.0, 330.0), vec2(730.0, 540.0), vec2(1360.0, 800.0)] {
            for n in [1, 2, 3, 5, 9, 16, 30] {
                let layout = Layout::new(room, n, pixels, None, 1.0);
                let rows = n.div_ceil(layout.columns) as f32;
                let used = vec2(layout.width(), rows * (layout.cell().y + CELL_GAP) - CELL_GAP);
                let side = layout.picture.x;
                assert!(used.x <= room.x && (used.y <= room.y || side <= SIDE.0), "{n} in {room}: {layout:?}");
                // A tenth larger, and nothing would fit, however it is arranged.
                let larger = Layout::new(room, n, pixels, Some(side * 1.1), 1.0);
                let rows = n.div_ceil(larger.columns) as f32;
                let fits = larger.width() <= room.x && rows * (larger.cell().y + CELL_GAP) - CELL_GAP <= room.y;
                assert!(!fits || larger.picture.x <= side, "{n} in {room}: {side} could be {}", larger.picture.x);
            }
        }
        let wide = Layout::new(vec2(500.0, 500.0), 1, vec2(64.0, 32.0), None, 1.0);
        assert!((wide.picture.x - 2.0 * wide.picture.y).abs() < 1.0 && wide.picture.x > 180.0, "{wide:?}");
        let many = Layout::new(vec2(500.0, 500.0), 256, pixels, None, 1.0);
        assert!(many.picture.x >= SIDE.0 - 1.0 && many.columns == 4, "what is too small to see scrolls: {many:?}");
    }
    #[test]
    fn the_grid_says_which_side_is_which() {
        let mut session = Session::new(Settings::default());
        session.handle(Action::Do(Verb::Generate));
        let Some(Command::Generate { job, .. }) = session.take_commands().pop() else { panic!("asked for") };
        let images = |value| ImageBatch::new([1, 1, 1, 1], vec![value]);
        let plain = Origins::opened(images(0.5), vec![0], Vec::new());
        session.apply(Event::Generated { job, origins: Arc::new(plain.clone()), secs: 0.0 });
        let heads = |origins: &Origins, peeks| Left::of(&session, origins, peeks).heads;
        assert_eq!([heads(&plain, false), heads(&plain, true)], [["before", "after"], ["before", "before"]]);
        let settings = EditSettings::default();
        let edited = Edited { settings, reference: images(0.25), mask: None, is_of_one: None };
        let edited = Origins { edited: Some(edited), ..plain };
        assert_eq!(heads(&edited, false), ["input", "edited"], "until it is refined");
        let state = State { iteration: 0, images: images(0.5), numbers: Numbers::default() };
        let shown = (StateId { run: RunId(1), iteration: 0 }, Lookup::Ready(Arc::new(state)));
        assert!(matches!(After::of(&session, Some(&shown), false), After::State(..)));
        assert!(matches!(After::of(&session, Some(&shown), true), After::Before), "while V is held");
    }
}
