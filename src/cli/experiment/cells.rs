//! Cells on their way: the command of each, its folder, and its numbers.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::evaluate::{self, EvaluateOptions, read_table};
use super::super::{CliError, Invocation, Outcome, generate, parse, refine};
use crate::data::RESULTS_INDEX;
use crate::experiment::{Cell, Experiment, Found};
use crate::file::{sha256, sha256_of};
use crate::session::changes::files_of;
use crate::session::host::Folders;

/// Folder of the cells' results, and of their numbers.
const CELLS: &str = "cells";
const EVALUATIONS: &str = "evaluations";

/// A cell that can be computed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    /// The names of its generator and its refinement.
    pub(super) title: String,
    /// What stands for it in names of files.
    slug: String,
    /// Its command, from the name of it on.
    command: Vec<String>,
    /// The same, understood.
    invocation: Box<Invocation>,
    /// How it is measured, but for where the numbers go.
    evaluation: EvaluateOptions,
}

/// What came of a cell.
#[derive(Debug)]
pub(super) enum Came {
    /// All of it.
    Measured {
        /// Before and after, or what was generated.
        sets: Vec<Found>,
        /// How it was measured, in a sentence.
        protocol: String,
    },
    /// Somebody stopped it.
    Stopped(Outcome),
}

/// Every cell's command, understood before the first one begins.
pub(super) fn planned(
    experiment: &Experiment,
    (out, device, quiet): (&Path, Option<&str>, bool),
) -> Result<Vec<Planned>, CliError> {
    let both: Vec<String> = device.iter().map(|device| format!("--device={device}")).collect();
    let quiet = quiet.then(|| "--quiet".to_owned());
    experiment
        .cells()
        .map(|cell| {
            let title = title(cell);
            let wrong = |source| CliError::Cell { cell: title.clone(), source: Box::new(source) };
            let own: Vec<String> = experiment.command(cell).into_iter().chain(both.clone()).collect();
            // Its results are its own, whatever is added to the file or taken away.
            let slug = format!("{}-{}", cell.slug(), &sha256(&[own.join("\0").as_bytes()])[..8]);
            let folder = out.join(CELLS).join(&slug);
            let place = ["--resume".to_owned(), "--out".to_owned(), folder.display().to_string()];
            let command: Vec<String> = own.into_iter().chain(quiet.clone()).chain(place).collect();
            let invocation = understood(&command).map_err(&wrong)?;
            let reference =
                experiment.reference.iter().flat_map(|path| ["--reference".into(), path.display().to_string()]);
            let extractor = experiment.extractor.iter().map(|extractor| format!("--extractor={extractor}"));
            let evaluate = ["evaluate".to_owned(), folder.display().to_string()].into_iter();
            let evaluate: Vec<String> =
                evaluate.chain(reference).chain(extractor).chain(both.clone()).chain(quiet.clone()).collect();
            let Invocation::Evaluate(evaluation) = understood(&evaluate).map_err(&wrong)? else {
                unreachable!("it was asked for")
            };
            Ok(Planned { title: title.clone(), slug, command, invocation: Box::new(invocation), evaluation })
        })
        .collect()
}

fn understood(command: &[String]) -> Result<Invocation, CliError> {
    parse(["lapidary"].into_iter().chain(command.iter().map(String::as_str)))
}

fn title(cell: Cell<'_>) -> String {
    let names: Vec<&str> =
        [Some(cell.generator), cell.refinement].into_iter().flatten().map(|of| of.name.as_str()).collect();
    names.join(" / ")
}

impl Planned {
    /// Its command as somebody would type it.
    pub(super) fn typed(&self) -> String {
        let is_plain = |word: &str| word.chars().all(|c| c.is_alphanumeric() || "-_=./,:".contains(c));
        let word =
            |word: &String| if is_plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
        format!("lapidary {}", self.command.iter().map(word).collect::<Vec<_>>().join(" "))
    }

    /// Computes and measures it, unless that was done before.
    pub(super) fn measure(&self, out: &Path, folders: &Folders) -> anyhow::Result<Came> {
        let outcome = match &*self.invocation {
            Invocation::Refine(options) => refine::run(options, folders)?,
            Invocation::Generate(options) => generate::run(options, folders)?,
            other => unreachable!("no cell does {other:?}"),
        };
        if outcome != Outcome::Done {
            return Ok(Came::Stopped(outcome));
        }
        let results = out.join(CELLS).join(&self.slug);
        let evaluations = out.join(EVALUATIONS);
        std::fs::create_dir_all(&evaluations)
            .with_context(|| format!("no folder for the numbers can be made\n{}", evaluations.display()))?;
        let table = evaluations.join(format!("{}-{}.json", self.slug, self.key(&results, folders)?));
        if read_table(&table).is_none() {
            let options =
                EvaluateOptions { out: vec![table.clone()], overwrite: true, prints: false, ..self.evaluation.clone() };
            let outcome = evaluate::run(&options, folders)?;
            if outcome != Outcome::Done {
                return Ok(Came::Stopped(outcome));
            }
        }
        let (sets, protocol) = read_table(&table)
            .with_context(|| format!("the numbers that were just written cannot be read\n{}", table.display()))?;
        Ok(Came::Measured { sets, protocol })
    }

    /// Stands for all that its numbers depend on: what its results hold, the real pictures, what looks at them, and this version.
    fn key(&self, results: &Path, folders: &Folders) -> anyhow::Result<String> {
        let index = results.join(RESULTS_INDEX);
        let index =
            std::fs::read(&index).with_context(|| format!("the results have lost their index\n{}", index.display()))?;
        let real: Result<Vec<String>, _> =
            files(&self.evaluation.reference).iter().map(|path| sha256_of(path)).collect();
        let real = real.context("the real pictures cannot be read")?.join(" ");
        let extractor = evaluate::hash_of(&self.evaluation, folders)?;
        let version = env!("CARGO_PKG_VERSION");
        let parts = [index.as_slice(), real.as_bytes(), extractor.as_bytes(), version.as_bytes()];
        Ok(sha256(&parts)[..8].to_owned())
    }
}

/// The files of the real pictures.
fn files(reference: &[PathBuf]) -> Vec<PathBuf> {
    let (own, folders): (Vec<PathBuf>, Vec<PathBuf>) = reference.iter().cloned().partition(|path| path.is_file());
    own.into_iter().chain(files_of(&folders)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_can_be_begun() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/experiments");
        let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 4, "{files:?}");
        for file in files {
            let experiment = Experiment::read(&std::fs::read_to_string(&file).unwrap()).unwrap();
            let cells = planned(&experiment, (Path::new("out"), Some("cpu"), false)).unwrap();
            assert_eq!(cells.len(), experiment.cells().count(), "{}", file.display());
            for cell in &cells {
                let typed = cell.typed();
                assert!(typed.contains("--resume --out out/cells/") && typed.contains("--device=cpu"), "{typed}");
            }
        }
    }

    #[test]
    fn a_command_can_be_typed_as_it_is_said() {
        let experiment = "seeds = \"0..4\"\nname = \"n\"\nreference = [\"r.npz\"]\n[[generator]]\nname = \"a b\"\ngenerator = \"it's.pt\"";
        let cells = planned(&Experiment::read(experiment).unwrap(), (Path::new("my out"), None, true)).unwrap();
        let typed = cells[0].typed();
        assert!(
            typed.starts_with(
                r"lapidary generate --seeds=0..4 '--generator=it'\''s.pt' --quiet --resume --out 'my out/cells/a-b-"
            ),
            "{typed}"
        );
    }
}
