//! Exports of the window: to the clipboard at once, to files on a thread of their own, by the writers of the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender};
use egui::{Color32, ColorImage, Context};

use crate::error::error_chain;
use crate::export::{ExportError, GENERATED, REFINED, Refined, Results, write_png};
use crate::file::free_path;
use crate::generator::{EditSettings, GenerateSettings};
use crate::image::sheet::pair;
use crate::image::{ImageBatch, Levels};
use crate::origins::Origins;
use crate::parameter::{captions, names};
use crate::refiner::{RefineSettings, State};
use crate::session::document::Document;
use crate::session::{Cause, Export, Notices, Session, Severity};
use crate::trace::summary::{caption, led_to};
use crate::trace::{RunId, Trace};

/// Exports that may be told of at once.
const TOLD: usize = 16;

/// What became of an export: what lies where, or why not, from what happened to why.
type Told = Result<String, Vec<String>>;

/// Exports that are on their way.
pub struct Exports {
    told: (Sender<Told>, Receiver<Told>),
    /// What waits for a path.
    asked: Option<Job>,
    /// Where the last one went.
    folder: Option<PathBuf>,
}

impl Default for Exports {
    fn default() -> Self {
        Self { told: crossbeam::channel::bounded(TOLD), asked: None, folder: None }
    }
}

/// What is exported: it stays as it was when it was asked for, whatever goes on meanwhile.
struct Job {
    export: Export,
    origins: Arc<Origins>,
    state: Option<Arc<State>>,
    run: Option<RunId>,
    trace: Trace,
    document: Document,
    classes: Vec<String>,
    /// Which state it is, in words.
    at: String,
}

impl Exports {
    /// Takes out what is shown: to the clipboard at once; else gives back where a file might go, for [`Self::save`].
    pub fn begin(
        &mut self,
        ctx: &Context,
        session: &mut Session,
        export: Export,
        state: Option<Arc<State>>,
    ) -> Option<PathBuf> {
        let origins = session.origins()?.clone();
        // Without its pictures another state would be taken for it.
        let takes_pictures = !matches!(export, Export::CopySettings | Export::Trace);
        if takes_pictures && state.is_none() && session.shown_id().is_some() {
            let what = format!("Iteration {} is not at hand, so nothing was taken out", session.shown());
            let details =
                "It is being read from disk, or was not kept because the session was saved small: show another one.";
            session.notices.add_about(Cause::Export, Severity::Warning, what, vec![details.to_owned()]);
            return None;
        }
        let after = state.as_ref().map_or(&origins.images, |state| &state.images);
        let what = match export {
            Export::CopyPicture(sample) => {
                let [_, _, height, width] = after.shape();
                ctx.copy_image(rgb([width, height], &Levels::Rounded.rgb8(after, sample)));
                format!("picture {sample} after, {width}×{height} pixels")
            }
            Export::CopyPair(sample) => {
                let pair = pair(&origins.images, after, sample);
                let (size, levels) = pair.levels();
                ctx.copy_image(rgb(size, levels));
                format!("pair {sample}, {}×{} pixels", size[0], size[1])
            }
            Export::CopySettings => {
                let text = settings_in_words(session);
                ctx.copy_text(text.clone());
                text.replace('\n', "; ")
            }
            Export::Pair(_) | Export::Sheet | Export::Trace | Export::Results => {
                let (settings, provenance, trace) = (session.settings(), session.provenance(), session.trace());
                self.asked = Some(Job {
                    export,
                    document: Document::new(settings, provenance, Some(&origins), trace, None),
                    origins,
                    state,
                    run: session.shown_run(),
                    trace: trace.clone(),
                    classes: session.class_names().to_vec(),
                    at: match (export, session.shown()) {
                        (Export::Trace, _) => "the whole run".to_owned(),
                        (_, 0) => "nothing refined".to_owned(),
                        (_, last) if session.shows_best() => format!("the best of {last} iterations"),
                        (_, iteration) => format!("iteration {iteration}"),
                    },
                });
                return Some(self.suggest(session, export));
            }
        };
        session.notices.settle(&[Cause::Export]);
        session.notices.add(Severity::Info, format!("Copied: {what}"), Vec::new());
        None
    }

    /// Writes what was asked for to a file, on a thread of its own.
    pub fn save(&mut self, ctx: &Context, notices: &mut Notices, path: &Path) {
        let Some(mut job) = self.asked.take() else { return };
        let path = free_path(&with_ending(path, job.export));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        job.document = job.document.relative_to(folder);
        self.folder = Some(folder.to_owned());
        let (sender, ctx) = (self.told.0.clone(), ctx.clone());
        let spawned = std::thread::Builder::new().name("lapidary-export".to_owned()).spawn(move || {
            let told = job
                .write(&path)
                .map(|()| format!("Saved {} ({})", path.display(), job.at))
                .map_err(|error| error_chain(&error));
            // The window may be gone.
            drop(sender.send(told));
            ctx.request_repaint();
        });
        if let Err(error) = spawned {
            notices.failure_about(Cause::Export, &error_chain(&error));
        }
    }

    /// Where a file would go unless somebody says otherwise: where the last one went, else beside the session, else where the
    /// program was started.
    fn suggest(&self, session: &Session, export: Export) -> PathBuf {
        let beside = session.file().and_then(Path::parent).map(Path::to_owned);
        let here = || std::env::current_dir().unwrap_or_default();
        let name = match export {
            Export::Pair(sample) => {
                let seed = session.origins().and_then(|origins| origins.seeds.get(sample)).copied().unwrap_or(0);
                format!("pair_{seed:06}")
            }
            Export::Trace => "trace".to_owned(),
            // Which of the iterations it is, also where it will be found again.
            Export::Results => match session.shown() {
                0 => "result".to_owned(),
                last if session.shows_best() => format!("result_best_of_{last}"),
                iteration => format!("result_iteration_{iteration}"),
            },
            _ => "contact_sheet".to_owned(),
        };
        self.folder.clone().or(beside).unwrap_or_else(here).join(name + ending(export))
    }

    /// Says what became of those that are done.
    pub fn tell(&self, notices: &mut Notices) {
        for told in self.told.1.try_iter() {
            match told {
                Ok(what) => {
                    notices.settle(&[Cause::Export]);
                    notices.add(Severity::Info, what, Vec::new());
                }
                Err(chain) => notices.failure_about(Cause::Export, &chain),
            }
        }
    }
}

impl Job {
    fn write(&self, to: &Path) -> Result<(), ExportError> {
        let Self { origins, state, trace, classes, .. } = self;
        if let Export::Pair(sample) = self.export {
            let after: &ImageBatch = state.as_ref().map_or(&origins.images, |state| &state.images);
            return write_png(&pair(&origins.images, after, sample), to);
        }
        let path = self.run.map_or_else(Vec::new, |run| trace.path(run));
        // Another classifier's logits would be no "before" of these.
        let before = path.last().and_then(|last| trace.before(&path, *last));
        let refined = state.as_ref().filter(|_| !path.is_empty()).zip(self.run).map(|(state, run)| Refined {
            after: &state.images,
            logits_before: before.map_or(&[], |before| &before.logits),
            logits_after: &state.numbers.logits,
            trace,
            run,
            classes,
            levels: Levels::Rounded,
        });
        let exporters = if refined.is_some() { &REFINED[..] } else { &GENERATED };
        let results = Results { origins, document: &self.document, refined };
        let ending = ending(self.export);
        let wanted = |files: &str| files.ends_with(ending) && !files.contains('*');
        match exporters.iter().find(|exporter| wanted(exporter.files)) {
            Some(exporter) => exporter.write_to(to, &results),
            None => Ok(()),
        }
    }
}

/// What led to the state that is shown, and what that was made of. At its start it is the run that is described, too: its
/// classifier is the one that judged what is shown.
fn settings_in_words(session: &Session) -> String {
    let shown = session.shown_id();
    let settings = shown.and_then(|id| session.trace().settings(id)).unwrap_or(&session.settings().refine);
    let how = shown.filter(|id| id.iteration > 0).and_then(|id| led_to(session.trace(), id));
    format!("{}\n{}", how.unwrap_or_else(|| caption(settings, 0)), made_of(session, settings))
}

/// What pictures were made of, and what judges them: models, seeds, classes, how they were sampled and edited, and targets
/// that were chosen by hand.
fn made_of(session: &Session, settings: &RefineSettings) -> String {
    let Some(origins) = session.origins() else { return String::new() };
    let standard = GenerateSettings::default();
    let made = origins.made_by.as_ref().map_or_else(Vec::new, |made_by| {
        names(GenerateSettings::TABLE, made_by, |row| !row.is_rare || row.value(made_by) != row.value(&standard))
    });
    let files = origins.names.first().map(|first| match origins.names.len() {
        1 => first.clone(),
        n => format!("{first} and {} more", n - 1),
    });
    let edited = origins.edited.iter().flat_map(|edited| {
        let how = captions(EditSettings::TABLE, &edited.settings, |_| true);
        let mask = edited.mask.as_ref().map(|mask| format!("{} pixels masked", mask.count()));
        let from = "from other pictures, which the session holds".to_owned();
        std::iter::once(format!("edited: {}", how.join(", "))).chain(mask).chain([from])
    });
    let classifier = format!("classifier {}", settings.classifier);
    let parts = files.into_iter().chain(made).chain(edited).chain(chosen(session, origins)).chain([classifier]);
    parts.collect::<Vec<_>>().join(", ")
}

/// Targets of generated pictures that are not the classes that they were made as.
fn chosen(session: &Session, origins: &Origins) -> Vec<String> {
    let (Some(made_by), None) = (&origins.made_by, &origins.edited) else { return Vec::new() };
    let (made, names) = (session.generator_classes(), session.class_names());
    if made.is_empty() || session.settings().generate.generator != made_by.generator {
        // What its classes are called is not known any more.
        return Vec::new();
    }
    let names = origins.classes.as_deref().unwrap_or(names);
    let first = made_by.labels(made.len());
    let other = origins.labels.iter().zip(first).enumerate().filter_map(|(sample, (label, first))| {
        let name = names.get(*label)?;
        (Some(name) != made.get(first)).then(|| format!("target of sample {sample}: {name}"))
    });
    other.collect()
}

/// The ending of a file.
const fn ending(export: Export) -> &'static str {
    match export {
        Export::Trace => ".csv",
        Export::Results => ".npz",
        _ => ".png",
    }
}

/// A path with the ending of what is written, behind any other that it has: a program goes by it.
fn with_ending(path: &Path, export: Export) -> PathBuf {
    let ending = ending(export);
    if path.extension().is_some_and(|own| own.eq_ignore_ascii_case(&ending[1..])) {
        return path.to_owned();
    }
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn rgb(size: [usize; 2], levels: &[u8]) -> ColorImage {
    let pixels = levels.as_chunks::<3>().0.iter().map(|[r, g, b]| Color32::from_rgb(*r, *g, *b)).collect();
    ColorImage::new(size, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Action, Verb, toy};

    #[test]
    fn copied_settings_name_the_classifier_of_what_is_shown_and_not_the_one_that_is_chosen() {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![0], Vec::new()));
        let own = session.settings().refine.classifier.clone();
        for iteration in 0..2 {
            toy::come(&mut session, of, iteration, &[0.0; 12]);
        }
        let mut settings = session.settings().clone();
        settings.refine.classifier = "gtsrb12-robust".to_owned();
        session.handle(Action::Edit(Box::new(settings)));
        for place in [0, 1] {
            session.handle(Action::Show(place));
            let text = settings_in_words(&session);
            assert!(text.ends_with(&format!("classifier {own}")), "{text}");
        }
        session.handle(Action::Do(Verb::Branch));
        let branch = toy::begun(&mut session);
        toy::come(&mut session, branch, 1, &[1.0; 12]);
        let text = settings_in_words(&session);
        assert!(text.ends_with("classifier gtsrb12-robust"), "{text}");
    }

    #[test]
    fn an_export_replaces_nothing_and_has_the_ending_of_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        assert_eq!(free_path(&path), path);
        std::fs::write(&path, "mine").unwrap();
        std::fs::write(folder.path().join("trace (2).csv"), "mine").unwrap();
        assert_eq!(free_path(&path), folder.path().join("trace (3).csv"));
        assert_eq!(with_ending(Path::new("a/b"), Export::Results), Path::new("a/b.npz"));
        assert_eq!(with_ending(Path::new("a/b.PNG"), Export::Sheet), Path::new("a/b.PNG"));
        assert_eq!(with_ending(Path::new("a/b.lapidary"), Export::Results), Path::new("a/b.lapidary.npz"));
    }
}
