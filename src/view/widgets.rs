//! The house widgets: lists, sections, and rows of numbers.

use egui::{Order, Rect, Response, RichText, Role, Stroke, Tooltip, Ui, WidgetInfo, pos2};

use super::{focus, theme};

/// Lists of more classes than this get a text to filter by.
const FILTER_FROM: usize = 40;
/// Width of a filtered list, in points: names of a thousand classes differ a lot, and the list must not jump.
const LIST_WIDTH: f32 = 240.0;
/// Height of a filtered list, in points.
const LIST_HEIGHT: f32 = 260.0;
/// Height of a combo box's popup, in points: the filtered list and the lines above it fit without a second scroll bar.
pub const POPUP_HEIGHT: f32 = LIST_HEIGHT + 120.0;
/// Smallest and largest width of combo boxes in the settings, in points.
pub const COMBO_WIDTH: (f32, f32) = (80.0, 148.0);

/// Width of a text that says why something was refused, in points.
const REFUSAL_WIDTH: f32 = 260.0;
/// Width of the column of labels: controls of all sections begin at one place.
const LABEL_WIDTH: f32 = 86.0;

/// Rows of a label and a control.
pub fn grid(name: &'static str) -> egui::Grid {
    egui::Grid::new(name).num_columns(2).min_col_width(LABEL_WIDTH)
}

/// A combo box as wide as there is room for in the settings; text that is too long ends in an ellipsis.
pub fn combo_box(ui: &Ui, id_salt: &str) -> egui::ComboBox<'static> {
    let width = ui.available_width().clamp(COMBO_WIDTH.0, COMBO_WIDTH.1);
    egui::ComboBox::from_id_salt(id_salt).width(width).truncate()
}

/// The rows of a list of classes: `row` draws the one that it is given.
///
/// A long list gets a text to filter by, and only the rows that are seen are drawn: a thousand classes cost no more than a
/// few. Its popup must not close when the text is clicked, see [`closing_of`].
pub fn class_rows(ui: &mut Ui, names: &[String], mut row: impl FnMut(&mut Ui, usize, &str)) {
    if names.len() <= FILTER_FROM {
        for (class, name) in names.iter().enumerate() {
            row(ui, class, name);
        }
        focus::scroll_to(ui);
        return;
    }
    ui.set_width(LIST_WIDTH);
    let filter = filter_ui(ui);
    let found = classes_with(names, &filter);
    if found.is_empty() {
        ui.label(RichText::new("No class has this in its name").weak());
    }
    let height = ui.spacing().interact_size.y;
    let list = egui::ScrollArea::vertical().id_salt("classes").max_height(LIST_HEIGHT).auto_shrink([false, true]);
    list.show_rows(ui, height, found.len(), |ui, seen| {
        ui.style_mut().wrap_mode = Some(egui::TextWrapMode::Truncate);
        for class in &found[seen] {
            // The class keeps its identity while others are filtered away.
            ui.push_id(*class, |ui| row(ui, *class, &names[*class]));
        }
        focus::scroll_to(ui);
    });
}

/// A filter that is being typed.
#[derive(Debug, Clone, Default)]
struct Filter {
    text: String,
    /// The pass that drew it last: a filter that was not drawn since is one of an earlier popup.
    pass: u64,
    has_focus: bool,
}

/// The text to filter by; empty whenever its popup opens, and ready to be typed into.
fn filter_ui(ui: &mut Ui) -> String {
    let id = ui.scope_id().with("filter");
    let pass = ui.ctx().cumulative_pass_nr();
    let drawn = ui.data(|data| data.get_temp::<Filter>(id)).filter(|filter| filter.pass + 1 >= pass);
    let mut filter = drawn.unwrap_or_default();
    filter.pass = pass;
    let edit = egui::TextEdit::singleline(&mut filter.text).hint_text("Name or number").desired_width(LIST_WIDTH);
    let response = text_field(ui, edit).accessible_name("Filter classes");
    if !filter.has_focus && !ui.is_sizing_pass() {
        filter.has_focus = true;
        response.request_focus();
    }
    ui.data_mut(|data| data.insert_temp(id, filter.clone()));
    filter.text
}

/// When the popup of a list of classes closes: a click into the filter must not close it.
#[must_use]
pub const fn closing_of(names: &[String]) -> egui::PopupCloseBehavior {
    if names.len() > FILTER_FROM {
        egui::PopupCloseBehavior::CloseOnClickOutside
    } else {
        egui::PopupCloseBehavior::CloseOnClick
    }
}

/// The classes whose name holds `filter`, in whatever case, or whose number it is.
fn classes_with(names: &[String], filter: &str) -> Vec<usize> {
    let filter = filter.trim().to_lowercase();
    let number = filter.parse::<usize>().ok();
    let found = |(class, name): &(usize, &String)| number == Some(*class) || name.to_lowercase().contains(&filter);
    names.iter().enumerate().filter(found).map(|(class, _)| class).collect()
}

/// A section that is closed until it is asked for, and stays as it was left.
pub fn section(ui: &mut Ui, title: &str, add_contents: impl FnOnce(&mut Ui)) {
    egui::CollapsingHeader::new(title).show_unindented(ui, add_contents);
}

/// A dialog in the middle of the window. It is there at once: where frames come slowly, what fades in is hardly seen for long.
pub fn modal(name: &str) -> egui::Modal {
    let id = egui::Id::unique(name);
    egui::Modal::new(id).area(egui::Modal::default_area(id).fade_in(false))
}

/// A button for what is to be done next.
pub fn primary(ui: &Ui, text: &str) -> egui::Button<'static> {
    let tokens = theme::tokens(ui);
    egui::Button::new(RichText::new(text).strong().color(tokens.on_after)).fill(tokens.after)
}

/// A tip beside a control of the settings: neither on it nor on its neighbours. It stays when the control is grey, for it
/// says what the setting is for.
pub fn tip(response: Response, text: impl Into<egui::WidgetText>) -> Response {
    let mut tip = if response.enabled() { Tooltip::for_enabled(&response) } else { Tooltip::for_disabled(&response) };
    // Beside the panel; beside the list of options where that reaches farther.
    let beside = response.rect.with_max_x(response.rect.right().max(theme::SETTINGS_WIDTH));
    tip.popup = tip.popup.anchor(beside).align(egui::RectAlign::RIGHT_START).align_alternatives(&[]);
    tip.show(|ui| ui.label(text));
    response
}

/// Why a text was refused, beside the panel at its row: what is below the row stays where it is.
pub fn refusal_ui(ui: &Ui, id: egui::Id, row: Rect, text: &str) {
    let at = pos2(row.right().max(theme::SETTINGS_WIDTH) + theme::GAP, row.top());
    let color = theme::tokens(ui).error;
    egui::Area::new(id).order(Order::Foreground).interactable(false).fixed_pos(at).show(ui.ctx(), |ui| {
        egui::Frame::popup(ui.style()).show(ui, |ui| {
            ui.set_max_width(REFUSAL_WIDTH);
            ui.add(egui::Label::new(RichText::new(text).color(color)).wrap());
        });
    });
}

/// A field for text, with an edge that is seen on every ground.
pub fn text_field(ui: &mut Ui, edit: egui::TextEdit<'_>) -> Response {
    ui.scope(|ui| {
        let visuals = ui.visuals_mut();
        visuals.widgets.inactive.bg_stroke = Stroke::new(1.0, visuals.weak_text_color());
        ui.add(edit)
    })
    .inner
}

/// No tip is shown in this layer in the next frame: egui shows none below an open popup, and this one is open but nowhere.
pub fn without_tips(ui: &Ui) {
    let anchor = egui::PopupAnchor::PointerFixed;
    let popup = egui::Popup::new(egui::Id::unique("no tips"), ui.ctx().clone(), anchor, ui.layer_id());
    drop(popup.open(true).show(|_| ()));
    if ui.input(|input| input.pointer.any_pressed()) {
        ui.ctx().request_repaint();
    }
}

/// Gives a widget its accessible name, which tests find it by.
pub fn name(response: &Response, kind: Role, label: &str) {
    response.widget_info(|| WidgetInfo::labeled(kind, response.enabled(), label));
}

/// A title above a group of controls.
pub fn heading(ui: &mut Ui, text: &str) {
    ui.add_space(theme::GAP);
    ui.label(RichText::new(text).strong().size(14.0));
    ui.add_space(1.0);
}

/// A row: name on the left, value on the right.
pub fn row(ui: &mut Ui, label: &str, value: impl Into<egui::WidgetText>, tooltip: &str) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(label).weak()).on_hover_text(tooltip);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.label(value).on_hover_text(tooltip);
        });
    });
}

/// A number with as many digits as a reader wants: four significant ones.
#[must_use]
pub fn digits(value: f32) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "not a number".to_owned()
    } else if size >= 1000.0 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 10.0 {
        format!("{value:.2}")
    } else if size >= 0.001 || value == 0.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1e}")
    }
}

/// A share of one as a percentage.
#[must_use]
pub fn percent(value: f32) -> String {
    let percent = value * 100.0;
    match percent.abs() {
        // So small that one digit would make it nothing.
        size if size > 0.0 && size < 0.001 => format!("{percent:.0e} %"),
        size if size > 0.0 && size < 0.05 => format!("{percent:.3} %"),
        _ => format!("{percent:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_there_however_slowly_frames_come() {
        let (ctx, mut opacity) = (egui::Context::default(), 0.0);
        for _ in 0..3 {
            let input = egui::RawInput { time: Some(1.0), ..Default::default() };
            drop(ctx.run_ui(input, |ui| {
                modal("a dialog").show(ui.ctx(), |ui| {
                    ui.label("text");
                    opacity = ui.opacity();
                });
            }));
        }
        assert_eq!(opacity, 1.0);
    }

    #[test]
    fn classes_are_found_by_name_in_any_case_and_by_number() {
        let names = ["Tabby cat", "tiger", "cAt 12", "dog"].map(str::to_owned);
        assert_eq!(classes_with(&names, " CAT"), [0, 2]);
        assert_eq!(classes_with(&names, "3"), [3]);
        assert_eq!(classes_with(&names, "1"), [1, 2], "number 1, and a name with a 1");
        assert_eq!(classes_with(&names, ""), [0, 1, 2, 3]);
        assert_eq!(classes_with(&names, "zebra"), [0_usize; 0]);
    }

    #[test]
    fn only_the_rows_that_are_seen_are_drawn() {
        let names: Vec<String> = (0..1000).map(|class| format!("class {class}")).collect();
        let mut drawn = 0;
        egui::__run_test_ui(|ui| {
            class_rows(ui, &names, |ui, _, name| {
                ui.label(name);
                drawn += 1;
            });
        });
        assert!((1..200).contains(&drawn), "{drawn} of a thousand rows");
    }

    #[test]
    fn numbers_are_short_and_honest() {
        assert_eq!([0.0, 0.1234, 12.34, 123.4, 4321.0].map(digits), ["0.000", "0.123", "12.34", "123.4", "4321"]);
        assert_eq!(digits(f32::NAN), "not a number");
        assert_eq!([0.0, 0.000_000_1, 0.000_012, 0.5].map(percent), ["0.0 %", "1e-5 %", "0.001 %", "50.0 %"]);
        assert_eq!(digits(1.5e-7), "1.5e-7");
    }
}
