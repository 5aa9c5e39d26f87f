//! Right, below the numbers of the classifier that refines: what a judge that has no part in it sees, and how far the pictures
//! are from real ones. Folded until somebody looks: only then it is computed.

use egui::{RichText, Role, TextStyle, Ui};

use super::generate_panel::{Wish, short_name};
use super::sample_panel::in_points;
use super::widgets::{digits, percent, row};
use super::{theme, widgets};
use crate::metrics::{FEW, Shift, Sure};
use crate::refiner::Target;
use crate::session::notice::sentence;
use crate::session::{Action, LiveChoice, LiveShown, Session};
use crate::units::counted;
use crate::worker::live::{Distance, Numbers};
use crate::zoo::{BUNDLED, bundled_manifest};

/// The section's title.
const TITLE: &str = "Independent judge";
/// What stands where there is no number.
const NONE: &str = "–";
/// Lines that are kept for sentences, so that what is below stays where it is when they change.
const LINES: f32 = 4.0;
/// Width of a label before a list, in points: both lists begin at one place.
const LABEL_WIDTH: f32 = 74.0;

/// Draws the section.
pub fn live_panel_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) -> Option<Wish> {
    session.origins()?;
    let choice = session.live_choice();
    ui.add_space(theme::GAP);
    let header = egui::CollapsingHeader::new(TITLE).open(Some(choice.is_on));
    let response = header.show_unindented(ui, |ui| contents_ui(ui, session, actions));
    let about = "Numbers of these pictures, before and after, by a classifier that does not refine them; computed beside the run, at most once a second and for at most 5 % of the time";
    if response.header_response.on_hover_text(about).clicked() {
        choose(actions, LiveChoice { is_on: !choice.is_on, ..choice.clone() });
    }
    response.body_returned.flatten()
}

fn choose(actions: &mut Vec<Action>, choice: LiveChoice) {
    actions.push(Action::ChooseLive(Box::new(choice)));
}

fn contents_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) -> Option<Wish> {
    let choice = session.live_choice();
    let judge = list_ui(ui, ("Judge", JUDGE_ABOUT), &short_name(&choice.judge), |ui| judges_ui(ui, choice, actions));
    let real = choice.reference.as_ref().map_or_else(|| "none".to_owned(), |path| short_name(&path.to_string_lossy()));
    let real = list_ui(ui, ("Compare to", REAL_ABOUT), &real, |ui| references_ui(ui, choice, actions));
    let found = match session.live_shown() {
        LiveShown::Found(numbers, ..) => Some(numbers),
        _ => None,
    };
    numbers_ui(ui, session, found);
    ui.label(RichText::new(status(session)).weak().small());
    notes_ui(ui, session);
    judge.or(real)
}

const JUDGE_ABOUT: &str = "The classifier that judges; one that refines is no judge of its own work";
const REAL_ABOUT: &str = "Real pictures that the Fréchet distance is to, seen by the judge: pictures, or what lapidary evaluate saved of them";

/// A label and a list of choices; what a choice there asks for.
fn list_ui(
    ui: &mut Ui,
    (label, about): (&str, &str),
    chosen: &str,
    choices: impl FnOnce(&mut Ui) -> Option<Wish>,
) -> Option<Wish> {
    let row = ui.horizontal(|ui| {
        ui.scope(|ui| {
            ui.set_min_width(LABEL_WIDTH);
            ui.label(label).on_hover_text(about);
        });
        let combo = egui::ComboBox::from_id_salt(label)
            .width(ui.available_width() - 8.0)
            .height(widgets::POPUP_HEIGHT)
            .truncate()
            .selected_text(chosen)
            .show_ui(ui, choices);
        let response = combo.response.on_hover_text(format!("{chosen}\n{about}"));
        widgets::name(&response, Role::ComboBox, label);
        combo.inner.flatten()
    });
    row.inner
}

/// The bundled classifiers, and a file.
fn judges_ui(ui: &mut Ui, choice: &LiveChoice, actions: &mut Vec<Action>) -> Option<Wish> {
    for bundled in &BUNDLED {
        let manifest = bundled_manifest(bundled);
        if manifest.role() != "classifier" {
            continue;
        }
        let label = ui.selectable_label(choice.judge == bundled.name, manifest.title);
        if label.on_hover_text(manifest.source).clicked() {
            choose(actions, LiveChoice { judge: bundled.name.to_owned(), ..choice.clone() });
        }
    }
    let file = ui.button("Open file…").on_hover_text("Weights in a file of PyTorch or safetensors");
    file.clicked().then_some(Wish::JudgeFile)
}

/// None, a file, or a folder.
fn references_ui(ui: &mut Ui, choice: &LiveChoice, actions: &mut Vec<Action>) -> Option<Wish> {
    let none = ui.selectable_label(choice.reference.is_none(), "none");
    if none.on_hover_text("No Fréchet distance is computed").clicked() {
        choose(actions, LiveChoice { reference: None, ..choice.clone() });
    }
    let about = "An .npz of pictures, of mean and covariance, or of what the same judge saw";
    let file = ui.button("Open file…").on_hover_text(about).clicked();
    let folder = ui.button("Open folder…").on_hover_text("A folder with real pictures in it or below it").clicked();
    file.then_some(Wish::RealFile).or(folder.then_some(Wish::RealFolder))
}

/// The numbers, each in a line that is always there.
fn numbers_ui(ui: &mut Ui, session: &Session, found: Option<&Numbers>) {
    let settings = session.shown_id().and_then(|id| session.trace().settings(id));
    let (class, better) = match settings.map_or(Target::Label, |settings| settings.target) {
        Target::Label | Target::PseudoLabel => ("its target class", "more"),
        Target::Untargeted => ("the class that it is to leave", "less"),
    };
    let judged = found.and_then(|found| found.judged.as_ref().ok());
    let sure = format!(
        "Mean of every picture's own change; ± is half a 95 % interval (200 draws of the pictures with repetition), which needs {FEW} pictures: where it is wider than the change, that may be chance"
    );
    let about = format!("Share of the pictures that the judge takes for {class}, before and after; {better} is better");
    shift_ui(ui, ["Agreement", "Change of agreement"], judged.map(|judged| judged.agreement), [&about, &sure]);
    let about = format!("Mean probability that the judge gives {class}, before and after; {better} is better");
    shift_ui(ui, ["Confidence", "Change of confidence"], judged.map(|judged| judged.confidence), [&about, &sure]);
    let distance = found.and_then(|found| found.distance.as_ref()?.as_ref().ok());
    let (text, about) = distance_in_words(distance);
    row(ui, "Fréchet distance", text, &about);
    let change = distance.map_or_else(|| NONE.to_owned(), |distance| signed(distance.of.change));
    row(ui, "Change of distance", change, CHANGE_ABOUT);
}

fn shift_ui(ui: &mut Ui, labels: [&str; 2], shift: Option<Shift>, about: [&str; 2]) {
    let share = |value: f64| percent(value as f32);
    let means = shift.map(|Shift { before, after, .. }| format!("{} → {}", share(before), share(after)));
    row(ui, labels[0], means.unwrap_or_else(|| NONE.to_owned()), about[0]);
    let change = shift.map(|shift| in_points(shift.change));
    row(ui, labels[1], change.unwrap_or_else(|| NONE.to_owned()), about[1]);
}

const CHANGE_ABOUT: &str = "Change of the Fréchet distance; ± is half a 95 % interval, from what every picture weighs in both: where it is wider than the change, that may be chance";

fn signed(Sure { value, interval }: Sure) -> String {
    let sign = if value < 0.0 { '-' } else { '+' };
    let change = format!("{sign}{}", digits(value.abs() as f32));
    interval.map_or_else(|| change.clone(), |interval| format!("{change} ± {}", digits((interval.high - value) as f32)))
}

/// Before and after, and what a reader must know of it.
fn distance_in_words(distance: Option<&Distance>) -> (String, String) {
    let about = "Fréchet distance to the real pictures in what the judge sees (not the FID of papers), before and after; smaller is better, and it shrinks with the number of pictures";
    let Some(Distance { of, features, real, held_out, .. }) = distance else {
        return (NONE.to_owned(), about.to_owned());
    };
    let real = real.map_or_else(|| "nobody says how many".to_owned(), |real| real.to_string());
    let text = format!("{} → {}", digits(of.before as f32), digits(of.after as f32));
    let left = match held_out {
        0 => String::new(),
        held_out => format!(", without {held_out} more that their data set holds out for validation"),
    };
    (text, format!("{about}\n{features} features a picture; real pictures: {real}{left}"))
}

/// Of which state the numbers are, and of how many pictures and features.
fn status(session: &Session) -> String {
    match session.live_shown() {
        LiveShown::Nothing => "nothing to judge yet".to_owned(),
        LiveShown::Awaited(None) => "looking at the pictures…".to_owned(),
        LiveShown::Awaited(Some((done, all))) | LiveShown::Found(.., Some((done, all))) => {
            format!("looking at real pictures: {done} of {all}")
        }
        LiveShown::Refused(_) => "no numbers".to_owned(),
        LiveShown::Found(Numbers { pictures, distance, .. }, state, None) => {
            let pictures = counted(*pictures, "picture");
            let features = match distance {
                Some(Ok(distance)) => format!(", {} features", distance.features),
                _ => String::new(),
            };
            format!("run {}, iteration {}: {pictures}{features}", state.run.0, state.iteration)
        }
    }
}

/// What a reader of the numbers must know; true for what spoils them.
fn notes(session: &Session) -> Vec<(String, bool)> {
    match session.live_shown() {
        LiveShown::Refused(chain) => chain.iter().map(|line| (sentence(line), true)).collect(),
        LiveShown::Found(numbers, ..) => {
            let refines = session.judge_refines(numbers).then(|| {
                let text = "Not independent: this judge is the very classifier that refines, so choose another one";
                (text.to_owned(), true)
            });
            let unjudged = numbers.judged.as_ref().err().map(|why| (sentence(why), true));
            let distance = numbers.distance.as_ref().and_then(|distance| match distance {
                Ok(distance) => distance.doubt.as_ref().map(|doubt| (sentence(doubt), true)),
                Err(why) => Some((sentence(why), true)),
            });
            let first = (numbers.pictures < session.count())
                .then(|| (format!("Only the first {} are looked at", counted(numbers.pictures, "picture")), false));
            [refines, unjudged, distance, first].into_iter().flatten().collect()
        }
        LiveShown::Nothing | LiveShown::Awaited(_) => Vec::new(),
    }
}

/// Sentences about the numbers, in room that is always there.
fn notes_ui(ui: &mut Ui, session: &Session) {
    // The lines of a text lie on whole pixels, so together they may be a little higher.
    let height = LINES.mul_add(ui.text_style_height(&TextStyle::Small), 1.0);
    let color = theme::tokens(ui).warning;
    ui.scope(|ui| {
        ui.set_min_height(height);
        for (text, is_warning) in notes(session) {
            let text = RichText::new(text).small();
            ui.add(egui::Label::new(if is_warning { text.color(color) } else { text.weak() }).wrap());
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::image::ImageBatch;
    use crate::metrics::{Interval, Judged, too_few};
    use crate::origins::Origins;
    use crate::refiner::State;
    use crate::session::{Lookup, toy};
    use crate::worker::live::Told;

    /// A session of one picture, with what was found of it.
    fn found(judged: Result<Judged, String>, distance: Option<Result<Distance, String>>) -> Session {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![0], Vec::new()));
        toy::come(&mut session, of, 0, &[0.0, 1.0]);
        session.choose_live(LiveChoice { is_on: true, ..LiveChoice::default() });
        let id = session.shown_id().expect("a state");
        let shown: Option<Arc<State>> = match session.shown_state() {
            Some(Lookup::Ready(state)) => Some(state),
            _ => None,
        };
        let wish = session.wish_live(shown.as_ref().map(|state| (id, state))).expect("somebody looks");
        let numbers =
            Numbers { judge: "j".to_owned(), sha256: "aa".to_owned(), width: 2, pictures: 1, judged, distance };
        session.take_live(Told::Numbers { of: wish.of, state: wish.state, found: Ok(numbers) });
        session
    }

    fn shift(before: f64, after: f64) -> Shift {
        let value = after - before;
        let interval = Some(Interval { low: value - 0.5, high: value + 0.5 });
        Shift { before, after, change: Sure { value, interval } }
    }

    fn judged() -> Judged {
        let shift = Shift::of(&[0.5], &[0.75]);
        Judged { agreement: shift, confidence: shift }
    }

    #[test]
    fn numbers_say_of_which_state_of_how_many_pictures_and_features_they_are() {
        let distance =
            Distance { of: shift(31.23, 28.4), features: 128, real: Some(8584), held_out: 1009, doubt: None };
        let session = found(Ok(judged()), Some(Ok(distance.clone())));
        let run = session.shown_run().expect("a run").0;
        assert_eq!(status(&session), format!("run {run}, iteration 0: 1 picture, 128 features"));
        let (text, about) = distance_in_words(Some(&distance));
        assert_eq!((text.as_str(), signed(distance.of.change).as_str()), ("31.23 → 28.40", "-2.830 ± 0.500"));
        assert!(about.contains("real pictures: 8584, without 1009 more that their data set holds out"), "{about}");
        assert!(notes(&session).is_empty());
        assert_eq!(distance_in_words(None).0, NONE);
    }

    #[test]
    fn how_far_the_look_at_real_pictures_is_stands_below_the_numbers_that_need_none() {
        let mut session = found(Ok(judged()), None);
        session.choose_live(LiveChoice { reference: Some("real".into()), ..session.live_choice().clone() });
        let (id, Some(Lookup::Ready(state))) = (session.shown_id().expect("a state"), session.shown_state()) else {
            panic!("it is in memory")
        };
        let wish = session.wish_live(Some((id, &state))).expect("real pictures were chosen");
        session.take_live(Told::Looking { of: wish.of.clone(), done: 4864, all: 8584 });
        let numbers = Numbers {
            judge: "j".to_owned(),
            sha256: "aa".to_owned(),
            width: 2,
            pictures: 1,
            judged: Ok(judged()),
            distance: None,
        };
        session.take_live(Told::Numbers { of: wish.of, state: wish.state, found: Ok(numbers) });
        assert_eq!(status(&session), "looking at real pictures: 4864 of 8584");
        assert!(matches!(session.live_shown(), LiveShown::Found(numbers, ..) if numbers.judged.is_ok()));
    }

    #[test]
    fn what_cannot_be_had_or_trusted_is_said_in_a_sentence_each() {
        let session = found(Err("the judge knows others".to_owned()), Some(Err("too few".to_owned())));
        let told: Vec<String> = notes(&session).into_iter().map(|(text, _)| text).collect();
        assert_eq!(told, ["The judge knows others", "Too few"]);
        let doubt = Some("few real ones".to_owned());
        let distance = Distance { of: shift(1.0, 1.0), features: 2, real: None, held_out: 0, doubt };
        let session = found(Ok(judged()), Some(Ok(distance)));
        assert_eq!(notes(&session), [("Few real ones".to_owned(), true)]);
    }

    #[test]
    fn nothing_below_moves_when_sentences_come_and_go() {
        let heights = [None, too_few(9, 128).map(Err)].map(|distance| {
            let session = found(Ok(judged()), distance);
            let mut height = 0.0;
            egui::__run_test_ui(|ui| {
                ui.set_width(theme::SAMPLE_WIDTH);
                let begin = ui.cursor().top();
                contents_ui(ui, &session, &mut Vec::new());
                height = ui.cursor().top() - begin;
            });
            height
        });
        assert!(heights[0] > 0.0 && heights[0] == heights[1], "{heights:?}");
    }
}
