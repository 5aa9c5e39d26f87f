//! A label is a name: models that count their classes otherwise are spoken to by name, and others are refused before anything is
//! made. What a network answers must be numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lapidary::generator::GenerateSettings;
use lapidary::refiner::{RefineSettings, Target};
use lapidary::session::{Action, Session, Settings, Verb};
use lapidary::trace::Tag;
use lapidary::worker::{Command, Event};
use lapidary::zoo::{Manifest, resolve};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};

use crate::cache::cache;
use crate::drive::drive;
use crate::tasks::on_cpu;
use crate::{JOB, RUN, rests};

/// A bundled model with another manifest, which says what the weights are.
fn variant(folder: &Path, name: &str, change: impl FnOnce(&mut Manifest)) -> String {
    let model = resolve(name, &cache()).expect("bundled models unpack");
    let weights = folder.join(format!("mine-{name}.safetensors"));
    std::fs::copy(&model.weights, &weights).expect("room");
    let mut manifest = model.manifest;
    manifest.file = weights.file_name().expect("a name").to_string_lossy().into_owned();
    change(&mut manifest);
    std::fs::write(weights.with_extension("toml"), toml::to_string(&manifest).expect("a manifest")).expect("room");
    weights.to_string_lossy().into_owned()
}

/// A bundled model one tensor of which holds enormous values.
fn overflowing(folder: &Path, name: &str, tensor: &str) -> String {
    let path = variant(folder, name, |manifest| manifest.sha256 = None);
    let bytes = std::fs::read(&path).expect("a copy");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let of = |name: &str| file.tensor(name).expect("the tensor").shape().to_vec();
    let huge: Vec<u8> = std::iter::repeat_n(3e38_f32.to_le_bytes(), of(tensor).iter().product()).flatten().collect();
    let mut tensors: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
    let view = TensorView::new(Dtype::F32, of(tensor), &huge).expect("as many values as the shape says");
    tensors.insert(tensor.to_owned(), view);
    serialize_to_file(tensors, None, &PathBuf::from(&path)).expect("room");
    path
}

/// Two pictures of the classes 3 and 4, and what comes of judging them.
fn judged(generator: &str, refine: &RefineSettings) -> Vec<Event> {
    let settings =
        GenerateSettings { generator: generator.to_owned(), first_seed: 3, samples: 2, ..Default::default() };
    let generate = Command::Generate { job: JOB, settings, compute: on_cpu() };
    let settings = refine.clone();
    drive(vec![generate], move |event, commands| {
        if let Event::Generated { origins, .. } = event {
            let refine = Command::Refine {
                job: JOB,
                run: RUN,
                origins: origins.clone(),
                from: None,
                references: None,
                settings: settings.clone(),
                iterations: Some(0),
                compute: on_cpu(),
                chunk: None,
                tag: Tag::default(),
            };
            commands.send(refine).expect("the receiver is alive");
        }
        let is_over = matches!(event, Event::State { .. } | Event::Failed { .. });
        !is_over
    })
}

fn failure(events: &[Event]) -> String {
    match events.last() {
        Some(Event::Failed { chain, .. }) => chain.join(": "),
        other => panic!("{other:?}"),
    }
}

fn targets(events: &[Event]) -> Option<Vec<usize>> {
    events.iter().find_map(|event| match event {
        Event::Targets { targets, .. } => Some(targets.clone()),
        _ => None,
    })
}

#[test]
fn labels_reach_a_classifier_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let classifier = variant(folder.path(), "gtsrb12-joint", |manifest| manifest.classes.reverse());
    let refine = RefineSettings { classifier, ..Default::default() };
    let events = judged("gtsrb12-cm", &refine);
    assert_eq!(targets(&events), Some(vec![8, 7]), "of twelve classes, counted from the other end");
    assert_eq!(targets(&judged("gtsrb12-cm", &RefineSettings::default())), None, "the labels themselves");
}

#[test]
fn labels_that_a_classifier_does_not_know_are_no_targets() {
    let folder = tempfile::tempdir().unwrap();
    let classifier = variant(folder.path(), "gtsrb12-joint", |manifest| {
        manifest.classes = (0..12).map(|class| format!("animal {class}")).collect();
    });
    let refine = RefineSettings { classifier, ..Default::default() };
    let text = failure(&judged("gtsrb12-cm", &refine));
    assert!(text.contains("12 classes (animal 0, animal 1, animal 2, ..., animal 11)"), "{text}");
    let seen = RefineSettings { target: Target::PseudoLabel, ..refine };
    assert!(matches!(judged("gtsrb12-cm", &seen).last(), Some(Event::State { .. })));
}

#[test]
fn the_window_makes_no_pictures_for_a_classifier_of_other_classes() {
    let folder = tempfile::tempdir().unwrap();
    let pets = variant(folder.path(), "gtsrb12-joint", |manifest| manifest.classes = vec!["cat".into(), "dog".into()]);
    let mut settings = Settings::default();
    settings.refine.classifier = pets;
    let mut session = Session::new(settings.clone());
    session.handle(Action::Do(Verb::Generate));
    assert!(!session.take_commands().iter().any(|command| matches!(command, Command::Generate { .. })));
    let notice = session.notices.list().last().expect("it is said");
    assert!(notice.details[0].contains("2 classes (cat, dog)"), "{notice:?}");
    settings.refine.target = Target::PseudoLabel;
    let mut session = Session::new(settings);
    session.handle(Action::Do(Verb::Generate));
    assert!(session.take_commands().iter().any(|command| matches!(command, Command::Generate { .. })));
}

#[test]
fn pictures_without_classes_are_refined_towards_what_the_classifier_sees() {
    let folder = tempfile::tempdir().unwrap();
    let generator = variant(folder.path(), "gtsrb12-cm", |manifest| manifest.classes.clear());
    let mut settings = Settings::default();
    settings.generate.generator = generator;
    let mut session = Session::new(settings.clone());
    session.handle(Action::Do(Verb::Generate));
    assert_eq!(session.settings().refine.target, Target::PseudoLabel);
    assert!(session.notices.list().iter().any(|notice| notice.title.contains("pseudo-label")));
    settings.refine.target = Target::Untargeted;
    let mut session = Session::new(settings);
    session.handle(Action::Do(Verb::Generate));
    assert!(session.notices.list()[0].details[0].contains("have no label"), "{:?}", session.notices.list());
}

#[test]
fn answers_that_are_no_numbers_are_a_failure_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let classifier = overflowing(folder.path(), "gtsrb12-joint", "fc.weight");
    let text = failure(&judged("gtsrb12-cm", &RefineSettings { classifier, ..Default::default() }));
    assert!(text.contains("the classifier answers to 2 of 2 pictures with values that are not finite"), "{text}");
    let generator = overflowing(folder.path(), "gtsrb12-cm", "out.2.weight");
    let settings = GenerateSettings { generator, samples: 1, ..Default::default() };
    let events = drive(vec![Command::Generate { job: JOB, settings, compute: on_cpu() }], |event, _| {
        !(rests(event) || matches!(event, Event::Failed { .. }))
    });
    assert!(failure(&events).contains("the generator makes values that are not finite"), "{}", failure(&events));
}

#[test]
fn what_was_assumed_of_a_file_is_said_when_it_is_first_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = PathBuf::from(overflowing(folder.path(), "gtsrb12-cm", "time_embed.0.bias"));
    // No copy of a bundled file, and no manifest.
    std::fs::remove_file(path.with_extension("toml")).unwrap();
    let settings =
        GenerateSettings { generator: path.to_string_lossy().into_owned(), samples: 1, ..Default::default() };
    let events = drive(vec![Command::Generate { job: JOB, settings, compute: on_cpu() }], |event, _| {
        !matches!(event, Event::Generator { .. } | Event::Failed { .. })
    });
    let said = events
        .iter()
        .any(|event| matches!(event, Event::Warning(text) if text.contains("is assumed; where that is wrong")));
    assert!(said, "{events:?}");
}
