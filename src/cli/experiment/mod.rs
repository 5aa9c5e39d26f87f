//! `lapidary experiment`: what a file declares, cell by cell, measured and put into one table.
//!
//! Every cell is one command with a folder of its own, named after what it does: what is done is gone on with or left as it is,
//! and a changed file computes what is new in it. The numbers of a cell are kept under a name that stands for its results, the
//! real pictures and the extractor, so they are never those of something else. What the extractor saw of the real pictures is kept
//! beside them under such a name, too: it looks at these once, not once a cell.

mod cells;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ArgMatches;

use self::cells::{Came, Planned, planned};
use super::say::{say_err, say_out};
use super::{CliError, Outcome, flags, shard, signals, usage};
use crate::error::error_chain;
use crate::experiment::{Experiment, Found, Table};
use crate::export::{Claim, Claimed, Earlier, ExportError, Extent, OutFolder, Shard, TABLES, atomically};
use crate::session::host::Folders;
use crate::units::counted;

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentOptions {
    /// Where the file lies.
    pub file: PathBuf,
    /// Its text.
    text: String,
    /// What it declares.
    pub experiment: Experiment,
    /// Folder of the cells and the tables.
    pub out: PathBuf,
    /// Every cell's command.
    cells: Vec<Planned>,
    /// Which of several runs this is, each of which computes some of the cells.
    shard: Option<Shard>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Say nothing but warnings, errors and the table.
    pub quiet: bool,
}

impl ExperimentOptions {
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, CliError> {
        let path = |flag: &str| matches.try_get_one::<PathBuf>(flag).ok().flatten().cloned();
        let file = path(usage::FILES).unwrap_or_default();
        let text =
            std::fs::read_to_string(&file).map_err(|source| CliError::ExperimentFile { path: file.clone(), source })?;
        let refuse = |source| CliError::Experiment { path: file.clone(), source: Box::new(source) };
        let experiment = Experiment::read(&text).map_err(refuse)?;
        // Beside where the user works, as the results of other commands.
        let stem = || file.file_stem().map_or_else(|| "experiment".into(), PathBuf::from);
        let out = path(usage::OUT).unwrap_or_else(stem);
        let quiet = flags::switched(matches, usage::QUIET).unwrap_or(false);
        let device = flags::given(matches, flags::DEVICE);
        let cells = planned(&experiment, (&out, device, quiet))?;
        let dry_run = flags::switched(matches, usage::DRY_RUN).unwrap_or(false);
        let shard = shard::given(matches)?;
        Ok(Self { file, text, experiment, out, cells, shard, dry_run, quiet })
    }

    /// Whether a cell is this run's.
    fn is_own(&self, place: usize) -> bool {
        self.shard.is_none_or(|Shard { k, n }| place as u64 % u64::from(n) == u64::from(k) - 1)
    }

    /// The folder of the tables; a shard writes none, for several work there at once.
    fn claimed(&self) -> Result<Option<OutFolder>, ExportError> {
        let claim = Claim {
            folder: &self.out,
            numbered: false,
            earlier: Earlier::Overwrite,
            // The tables are what the cells gave; which cells these are, their folders know.
            recipe: "experiment",
            share: None,
            files: &TABLES,
            inputs: std::slice::from_ref(&self.file),
        };
        if self.shard.is_some() {
            return Ok(None);
        }
        Ok(match claim.claim()? {
            Claimed::Begun(out) => Some(out),
            // It is asked for anew, so there is always something to do.
            Claimed::Finished(_) => None,
        })
    }

    /// What would be done, a line for every cell.
    fn plan(&self) -> String {
        let line = |cell: &Planned| format!("{}\n    {}", cell.title, cell.typed());
        let own = self.cells.iter().enumerate().filter(|(place, _)| self.is_own(*place));
        let lines: Vec<String> = own.map(|(_, cell)| line(cell)).collect();
        let cells = counted(lines.len(), "cell");
        format!("{}: {cells} in {}\n{}", self.experiment.name, self.out.display(), lines.join("\n"))
    }
}

/// Computes and measures what is not done yet, prints the table and writes it.
///
/// # Errors
/// The chain from what failed to why. A cell that fails keeps no other one back; it is named, and named again at the end.
pub fn run(options: &ExperimentOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    for cell in &options.cells {
        cell.check().with_context(|| format!("the cell {:?} of the experiment cannot be begun", cell.title))?;
    }
    if options.dry_run {
        say_out(&options.plan())?;
        return Ok(Outcome::Done);
    }
    let mut out = options.claimed()?;
    let mut found: Vec<Option<Vec<Found>>> = vec![None; options.cells.len()];
    let (mut protocol, mut failed, mut real) = (String::new(), Vec::new(), None);
    for (place, cell) in options.cells.iter().enumerate().filter(|(place, _)| options.is_own(*place)) {
        // It may have come when the cell before had done all, or to nobody.
        if let Some(signal) = signals::asked() {
            say_err(&format!("stopped before cell {}; the same command goes on there", place + 1));
            return ended(options, &found, &protocol, Outcome::Interrupted(signal));
        }
        if !options.quiet {
            say_err(&format!("cell {} of {}: {}", place + 1, options.cells.len(), cell.title));
        }
        match cell.measure(&options.out, folders, &mut real) {
            Ok(Came::Measured { sets, protocol: by }) => {
                (protocol, found[place]) = (by, Some(sets));
                if let Some(out) = &mut out {
                    write(options, &found, &protocol, out)?;
                }
            }
            Ok(Came::Stopped(stopped)) => {
                say_err(&format!("stopped in cell {}; the same command goes on there", place + 1));
                return ended(options, &found, &protocol, stopped);
            }
            Err(error) => {
                say_err(&format!("cell {} failed: {}", cell.title, error_chain(&*error).join("\n  because ")));
                failed.push(cell.title.as_str());
            }
        }
    }
    let ended = ended(options, &found, &protocol, Outcome::Done)?;
    anyhow::ensure!(
        failed.is_empty(),
        "{} failed: mend what is said above, and the same command computes what is missing\n{}",
        counted(failed.len(), "cell"),
        failed.join("\n")
    );
    Ok(ended)
}

/// Prints the table as it is now.
fn ended(
    options: &ExperimentOptions,
    found: &[Option<Vec<Found>>],
    protocol: &str,
    outcome: Outcome,
) -> anyhow::Result<Outcome> {
    if let Some(shard) = options.shard {
        let done = found.iter().filter(|found| found.is_some()).count();
        say_err(&format!(
            "shard {shard}: {} done; once all shards are, the same command without --shard writes the table",
            counted(done, "cell")
        ));
    } else if found.iter().any(Option::is_some) {
        say_out(Table::new(&options.experiment, found, protocol.to_owned()).text().trim_end())?;
        if !options.quiet {
            let files = TABLES.map(|name| options.out.join(name).display().to_string());
            say_err(&format!("written: {}", files.join(", ")));
        }
    }
    Ok(outcome)
}

/// Writes the tables of what is done: whatever ends the program, they are there.
fn write(
    options: &ExperimentOptions,
    found: &[Option<Vec<Found>>],
    protocol: &str,
    out: &mut OutFolder,
) -> anyhow::Result<()> {
    let table = Table::new(&options.experiment, found, protocol.to_owned());
    let texts = [table.text() + "\n", table.csv()?, table.latex(), table.markdown(), options.text.clone()];
    let names = TABLES.map(str::to_owned).to_vec();
    let put = |folder: &Path| -> Result<(), ExportError> {
        TABLES.iter().zip(&texts).try_for_each(|(name, text)| {
            atomically(&folder.join(name), |file| std::io::Write::write_all(file, text.as_bytes()))
        })
    };
    out.publish(names, Extent::Whole, put).context("the table cannot be written; what the cells gave stays")?;
    out.take_warnings().iter().for_each(|warning| say_err(warning));
    Ok(())
}
