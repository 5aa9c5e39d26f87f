//! Cells on their way: the command of each, its folder, and its numbers.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::edit::quoted;
use super::super::evaluate::{self, EvaluateOptions, KeptReal, read_table};
use super::super::{CliError, Invocation, Outcome, Part, RunOptions, Source, command, flags, generate, parse, refine};
use crate::data::{PictureError, PictureSource, RESULTS_INDEX};
use crate::experiment::{Cell, Experiment, Found};
use crate::file::{sha256, sha256_of};
use crate::session::changes::files_of;
use crate::session::host::Folders;
use crate::zoo;

/// Folder of the cells' results, and of their numbers.
const CELLS: &str = "cells";
const EVALUATIONS: &str = "evaluations";
/// How the flag begins that says where to compute.
const DEVICE: &str = "--device=";

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
    /// Where its pictures before are, where its results are too long to hold them.
    before: Before,
    /// How it is measured, but for where the numbers go.
    evaluation: EvaluateOptions,
}

/// The pictures before.
#[derive(Debug, Clone, PartialEq)]
enum Before {
    /// Nothing is done with them.
    Same,
    /// They are opened, from here; so many of them are taken.
    Opened(PathBuf, Part),
    /// They are generated again, into a folder of this name, which all refinements of them share.
    Generated(String, Box<RunOptions>),
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
    let device: Vec<String> = device.iter().map(|device| format!("{DEVICE}{device}")).collect();
    let quiet = quiet.then(|| "--quiet".to_owned());
    experiment
        .cells()
        .map(|cell| {
            let title = title(cell);
            let wrong = |source| CliError::Cell { cell: title.clone(), source: Box::new(source) };
            let own = with_device(experiment.command(cell), &device);
            // What measures runs where the cell does.
            let there: Vec<String> = own.iter().filter(|flag| flag.starts_with(DEVICE)).cloned().collect();
            // Its results are its own, whatever is added to the file or taken away.
            let slug = format!("{}-{}", cell.slug(), &sha256(&[own.join("\0").as_bytes()])[..8]);
            let folder = out.join(CELLS).join(&slug);
            let place = ["--resume".to_owned(), "--out".to_owned(), folder.display().to_string()];
            let command: Vec<String> = own.into_iter().chain(quiet.clone()).chain(place).collect();
            let mut invocation = understood(&command).map_err(&wrong)?;
            if let Invocation::Refine(options) | Invocation::Generate(options) = &mut invocation {
                options.aside = true;
            }
            let reference =
                experiment.reference.iter().flat_map(|path| ["--reference".into(), path.display().to_string()]);
            let extractor = experiment.extractor.iter().map(|extractor| format!("--extractor={extractor}"));
            let evaluate = ["evaluate".to_owned(), folder.display().to_string()].into_iter();
            let evaluate: Vec<String> =
                evaluate.chain(reference).chain(extractor).chain(there).chain(quiet.clone()).collect();
            let Invocation::Evaluate(evaluation) = understood(&evaluate).map_err(&wrong)? else {
                unreachable!("it was asked for")
            };
            let before = before(experiment, cell, &invocation, (out, &device, quiet.as_deref())).map_err(&wrong)?;
            let invocation = Box::new(invocation);
            Ok(Planned { title: title.clone(), slug, command, invocation, before, evaluation })
        })
        .collect()
}

fn before(
    experiment: &Experiment,
    cell: Cell<'_>,
    invocation: &Invocation,
    (out, device, quiet): (&Path, &[String], Option<&str>),
) -> Result<Before, CliError> {
    let Invocation::Refine(refine) = invocation else { return Ok(Before::Same) };
    if let Source::Pictures(paths) = &refine.source {
        return Ok(Before::Opened(paths.first().cloned().unwrap_or_default(), refine.part));
    }
    // What is said of refinement alone means nothing to what generates.
    let generate = command();
    let generate = generate.find_subcommand("generate");
    let is_known = |flag: &&String| {
        let name = flag.trim_start_matches("--").split('=').next();
        generate.is_some_and(|generate| generate.get_arguments().any(|arg| arg.get_long() == name))
    };
    let all = experiment.command(Cell { refinement: None, ..cell });
    let own = with_device(all.iter().skip(1).filter(is_known).cloned().collect(), device);
    let own: Vec<String> = ["generate".to_owned()].into_iter().chain(own).collect();
    let slug = Cell { refinement: None, ..cell }.slug();
    let slug = format!("{slug}-{}", &sha256(&[own.join("\0").as_bytes()])[..8]);
    let place = ["--resume".to_owned(), "--out".to_owned(), out.join(CELLS).join(&slug).display().to_string()];
    let whole: Vec<String> = own.into_iter().chain(quiet.map(str::to_owned)).chain(place).collect();
    match understood(&whole)? {
        Invocation::Generate(options) => Ok(Before::Generated(slug, Box::new(RunOptions { aside: true, ..options }))),
        _ => Ok(Before::Same),
    }
}

/// A command that computes where its user says now, and not where the file does.
fn with_device(mut command: Vec<String>, device: &[String]) -> Vec<String> {
    if !device.is_empty() {
        command.retain(|flag| !flag.starts_with(DEVICE));
    }
    command.extend_from_slice(device);
    command
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
        format!("lapidary {}", self.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
    }

    /// Computes and measures it, unless that was done before; `real` gets which real pictures these are, once for all cells.
    pub(super) fn measure(&self, out: &Path, folders: &Folders, real: &mut Option<String>) -> anyhow::Result<Came> {
        let outcome = match &*self.invocation {
            Invocation::Refine(options) => refine::run(options, folders)?,
            Invocation::Generate(options) => generate::run(options, folders)?,
            other => unreachable!("no cell does {other:?}"),
        };
        if outcome != Outcome::Done {
            return Ok(Came::Stopped(outcome));
        }
        let results = out.join(CELLS).join(&self.slug);
        let (mut sets, mut evaluation) = (vec![results.clone()], self.evaluation.clone());
        // Long results hold what came of the pictures only.
        let is_whole = PictureSource::find(&sets)?.before()?.is_some();
        match &self.before {
            Before::Generated(slug, options) if !is_whole => {
                let outcome = generate::run(options, folders)?;
                if outcome != Outcome::Done {
                    return Ok(Came::Stopped(outcome));
                }
                sets.insert(0, out.join(CELLS).join(slug));
                evaluation.pairs = true;
            }
            Before::Opened(path, part) if !is_whole => {
                anyhow::ensure!(
                    part.skip == 0,
                    "its pictures before refinement cannot be measured, because --skip leaves out the first ones: give an archive without them"
                );
                sets.insert(0, path.clone());
                evaluation.limit = part.limit;
            }
            _ => {}
        }
        let evaluations = out.join(EVALUATIONS);
        std::fs::create_dir_all(&evaluations)
            .with_context(|| format!("no folder for the numbers can be made\n{}", evaluations.display()))?;
        let known = match real.take() {
            Some(known) => known,
            None => self.real()?,
        };
        let pictures = real.insert(known).clone();
        let table = evaluations.join(format!("{}-{}.json", self.slug, self.key(&sets, &pictures, folders)?));
        if read_table(&table).is_none() {
            let (out, real) = (vec![table.clone()], Some(KeptReal { folder: evaluations, pictures }));
            let options = EvaluateOptions { sets, out, real, overwrite: true, prints: false, ..evaluation };
            let outcome = evaluate::run(&options, folders)?;
            if outcome != Outcome::Done {
                return Ok(Came::Stopped(outcome));
            }
        }
        let (sets, protocol) = read_table(&table)
            .with_context(|| format!("the numbers that were just written cannot be read\n{}", table.display()))?;
        Ok(Came::Measured { sets, protocol })
    }

    /// Says what it lacks, before the first cell begins: a model, real pictures, an extractor.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let (Invocation::Refine(options) | Invocation::Generate(options)) = &*self.invocation else { return Ok(()) };
        if options.source == Source::Generator {
            flags::find(&options.settings.generate.generator, true)?;
        }
        if matches!(&*self.invocation, Invocation::Refine(_)) {
            flags::find(&options.settings.refine.classifier, false)?;
        }
        zoo::find(&self.evaluation.extractor)?;
        let opened = if let Before::Opened(path, _) = &self.before { Some(path) } else { None };
        match self.evaluation.reference.iter().chain(opened).find(|path| !path.exists()) {
            Some(path) => Err(PictureError::Missing { path: path.clone() }.into()),
            None => Ok(()),
        }
    }

    /// Which real pictures these are, by what their files hold, one word for each.
    fn real(&self) -> anyhow::Result<String> {
        let hashes = hashes(&self.evaluation.reference).context("the real pictures cannot be read")?;
        Ok(hashes.join(" "))
    }

    /// Stands for all that its numbers depend on: what its sets hold, the real pictures, what looks at them, and this version.
    fn key(&self, sets: &[PathBuf], real: &str, folders: &Folders) -> anyhow::Result<String> {
        let mut parts = Vec::new();
        for set in sets {
            let index = set.join(RESULTS_INDEX);
            // Of results the index says what they are; what is opened are pictures of somebody else.
            match std::fs::read(&index) {
                Ok(index) => parts.push(sha256(&[&index])),
                Err(_) => parts.extend(hashes(std::slice::from_ref(set))?),
            }
        }
        parts.push(real.to_owned());
        parts.push(evaluate::hash_of(&self.evaluation, folders)?);
        parts.push(env!("CARGO_PKG_VERSION").to_owned());
        Ok(sha256(&[parts.join(" ").as_bytes()])[..8].to_owned())
    }
}

/// SHA-256 of pictures, file by file.
fn hashes(paths: &[PathBuf]) -> std::io::Result<Vec<String>> {
    let (own, folders): (Vec<PathBuf>, Vec<PathBuf>) = paths.iter().cloned().partition(|path| path.is_file());
    own.into_iter().chain(files_of(&folders)).map(|path| sha256_of(&path)).collect()
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
    fn the_device_of_the_command_line_goes_before_that_of_the_file_and_measures_too() {
        let text = "seeds = \"0..4\"\nname = \"n\"\nreference = [\"r.npz\"]\n[flags]\ndevice = \"cpu\"\n[[generator]]\nname = \"a\"\ngenerator = \"gtsrb12-cm\"\n[[refinement]]\nname = \"b\"\nradius = 2";
        let experiment = Experiment::read(text).unwrap();
        for (given, expected) in [(None, "cpu"), (Some("auto"), "auto")] {
            let cells = planned(&experiment, (Path::new("out"), given, true)).unwrap();
            let refined = cells.iter().find(|cell| cell.typed().contains("refine")).unwrap();
            assert_eq!(refined.typed().matches("--device").count(), 1, "{}", refined.typed());
            assert!(refined.typed().contains(&format!("--device={expected}")), "{}", refined.typed());
            assert_eq!(refined.evaluation.compute, understood_compute(expected));
            assert!(matches!(&refined.before, Before::Generated(..)));
        }
    }

    fn understood_compute(device: &str) -> crate::worker::ComputeSettings {
        let command = ["evaluate", "x.npz", "--reference", "r.npz"].map(str::to_owned);
        let command: Vec<String> = command.into_iter().chain([format!("{DEVICE}{device}")]).collect();
        match understood(&command).unwrap() {
            Invocation::Evaluate(options) => options.compute,
            _ => unreachable!("it was asked for"),
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
