//! What a session file asks for.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crate::cli::recorded::{Recorded, strays};
use crate::cli::{CliError, Part, Source};
use crate::image::Levels;
use crate::refiner::settings::ITERATIONS;
use crate::session::document::{Document, MaskFile, RunSummary, absolute_models};
use crate::session::{Settings, StorageError, changes};
use crate::units::counted;

/// What a session file asks for.
#[derive(Debug)]
pub(in crate::cli) struct Saved {
    pub(in crate::cli) settings: Settings,
    /// Its pictures, or why the file alone does not give them.
    pub(in crate::cli) source: Result<Source, CliError>,
    /// Real pictures that early stopping compares with.
    pub(in crate::cli) references: Vec<PathBuf>,
    /// Which of its pictures are taken, where they are files.
    pub(in crate::cli) part: Part,
    /// How 8-bit levels are made for archives.
    pub(in crate::cli) levels: Levels,
    /// Pictures to be made, where they are more than the settings can say.
    pub(in crate::cli) count: Option<u64>,
    /// What it says of its results.
    pub(in crate::cli) recorded: Recorded,
    /// What the reader should know about it.
    pub(in crate::cli) notes: Vec<String>,
}

/// Reads the recipe of a `.lapidary` file or a `session.json`; paths in it are relative to the file. What was edited can be
/// edited again (`edits`), but without a file of the results nothing else can be done with it.
pub(in crate::cli) fn read_session(path: &Path, edits: bool) -> Result<Saved, CliError> {
    let (document, packed) = Document::open(path)?;
    let source = source_of(&document, path, packed, edits);
    let strays = strays(path, &document);
    let references = Document::files(&document.references, folder_of(path));
    let levels = if document.truncated { Levels::Truncated } else { Levels::Rounded };
    let emptied = changes::no_samples(&document).map(|text| format!("note: {text}"));
    let Document { mut settings, runs, part, count, mut provenance, mask, .. } = document;
    let Document { input_hashes, reference_hashes, mut samples, edited, .. } = document;
    if edits && edited.is_none() {
        // They are of what is edited.
        samples.clear();
    }
    let mask =
        mask.map(|MaskFile { file, sha256 }| (Document::files(&[file], folder_of(path)).into_iter().collect(), sha256));
    absolute_models(&mut settings, &mut provenance, folder_of(path));
    let recorded = Recorded { path: path.to_owned(), provenance, input_hashes, reference_hashes, mask, samples };
    let last = runs.last();
    // What was done, whatever was planned: in the window a run is made longer, cut, or has no end; and a command must end.
    let done = last.and_then(|run| NonZeroU32::new(run.last_iteration));
    let planned = settings.refine.iterations.or_else(|| NonZeroU32::new(ITERATIONS.default as u32));
    let note_on_plan = done.zip(settings.refine.iterations).filter(|(done, planned)| !packed && done != planned);
    let note_on_plan = note_on_plan.map(|(done, planned)| {
        let done = counted(done.get() as usize, "iteration");
        format!("note: the session's last run has {done}, and so many are made unless --iterations says otherwise, not the {planned} of its settings")
    });
    settings.refine.iterations = done.or(planned);
    let note = last.filter(|run| run.last_iteration > 0).and_then(|run| {
        let plain = run.parent.is_none() && run.changes.is_empty();
        let same = plain && run.settings == settings_as_read(&settings, run);
        (!same).then(|| {
            let how = if plain { "" } else { ", with a branch or other settings on the way" };
            format!(
                "note: the session's last run has {}{how}; this one starts from the origin, with the session's latest settings and the flags given",
                counted(run.last_iteration as usize, "iteration")
            )
        })
    });
    let notes = note.into_iter().chain(note_on_plan).chain(strays).chain(emptied).collect();
    Ok(Saved { settings, source, references, part, levels, count, recorded, notes })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

/// Where the session's pictures are.
fn source_of(document: &Document, path: &Path, packed: bool, edits: bool) -> Result<Source, CliError> {
    let Document { samples, inputs, edited, .. } = document;
    if packed && !samples.is_empty() {
        return Ok(Source::Stored(path.to_owned()));
    }
    match edited {
        Some(edited) if edits && !edited.task.needs_reference() => return Ok(Source::Generator),
        Some(_) if !edits || inputs.is_empty() => {
            return Err(StorageError::EditedRecipe { path: path.to_owned() }.into());
        }
        _ => {}
    }
    if !inputs.is_empty() {
        return Ok(Source::Pictures(Document::files(inputs, folder_of(path))));
    }
    if samples.iter().any(|sample| !sample.name.is_empty()) {
        return Err(CliError::NoPictures { path: path.to_owned() });
    }
    Ok(Source::Generator)
}

/// The refinement settings as the run would have recorded them: iterations and model paths are no matter of the method.
fn settings_as_read(settings: &Settings, run: &RunSummary) -> crate::refiner::RefineSettings {
    crate::refiner::RefineSettings {
        classifier: run.settings.classifier.clone(),
        iterations: run.settings.iterations,
        ..settings.refine.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{EditSettings, EditTask};
    use crate::session::Provenance;
    use crate::trace::Trace;

    #[test]
    fn a_recipe_of_edited_pictures_needs_the_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        let mut document =
            Document::new(&Settings::default(), &Provenance::new(), None, &Trace::default(), Some(folder.path()));
        let mut source = |edited, edits| {
            document.edited = edited;
            std::fs::write(&path, document.to_json()).unwrap();
            read_session(&path, edits).unwrap().source
        };
        assert_eq!(source(None, false).unwrap(), Source::Generator);
        let frames = EditSettings { task: EditTask::Interpolate, ..Default::default() };
        assert_eq!(source(Some(frames.clone()), true).unwrap(), Source::Generator, "it needs no picture");
        assert_eq!(source(Some(frames), false).unwrap_err().exit_code(), 1);
        let error = source(Some(EditSettings::default()), true).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("describes edited pictures"), "{error}");
    }

    #[test]
    fn one_iteration_is_told_of_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        let mut document =
            Document::new(&Settings::default(), &Provenance::new(), None, &Trace::default(), Some(folder.path()));
        let settings = Settings::default().refine;
        let run = |last_iteration| RunSummary {
            id: crate::trace::RunId(0),
            parent: None,
            last_iteration,
            settings: crate::refiner::RefineSettings { eps: 2.0, ..settings.clone() },
            changes: Vec::new(),
            label: String::new(),
        };
        document.samples.push(crate::session::document::Sample { seed: 0, label: 0, name: String::new() });
        for (last, said) in [(1, "has 1 iteration;"), (2, "has 2 iterations;")] {
            document.runs = vec![run(last)];
            std::fs::write(&path, document.to_json()).unwrap();
            let notes = read_session(&path, false).unwrap().notes.concat();
            assert!(notes.contains(said), "{notes}");
        }
        // Made longer than it was planned, or stopped before its end, a run is repeated as it was.
        for last in [7, 40] {
            document.runs = vec![RunSummary { settings: settings.clone(), ..run(last) }];
            std::fs::write(&path, document.to_json()).unwrap();
            let saved = read_session(&path, false).unwrap();
            assert_eq!(saved.settings.refine.iterations.map(NonZeroU32::get), Some(last));
            let said =
                format!("has {last} iterations, and so many are made unless --iterations says otherwise, not the 15 ");
            assert!(saved.notes.concat().contains(&said), "{:?}", saved.notes);
        }
        document.runs = vec![RunSummary { settings: settings.clone(), ..run(15) }];
        std::fs::write(&path, document.to_json()).unwrap();
        assert_eq!(read_session(&path, false).unwrap().notes, Vec::<String>::new(), "there is nothing to note");
    }
}
