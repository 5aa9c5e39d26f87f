//! `lapidary train`: makes a generator or a classifier from pictures, or a better generator from its own.

mod options;

use std::path::PathBuf;
use std::time::Instant;

pub use self::options::{DEFAULT_OUT, TrainOptions};
use super::Outcome;
use super::driver::Driver;
use super::edit::word;
use super::say::say_out;
use crate::session::host::Folders;
use crate::units::{counted, duration};
pub use crate::worker::train::Role;
use crate::worker::train::{Told, TrainReport};

/// What is known of a training on its way.
struct Course {
    report: TrainReport,
    /// When its first step began.
    since: Instant,
    /// Steps that are done, and the loss of the last.
    last: (u64, f64),
    /// The last checkpoint.
    kept: Option<PathBuf>,
}

/// Trains until all steps are done or a signal comes.
///
/// # Errors
/// The chain from what failed to why; what was kept before stays.
pub fn run(options: &TrainOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let mut driver = Driver::new(folders, Some(&options.out), options.quiet)?;
    let mut course = None;
    let (settings, dry_run) = (options.settings(), options.dry_run);
    let rest = driver.train((settings, dry_run), &mut |told, progress| match told {
        Told::Reading(done, of) => progress.show_steps("reading", done as u64, of as u64, done as u64),
        Told::Ready(report) => {
            let last = (report.steps.0, f64::NAN);
            for line in &report.data {
                progress.note(line);
            }
            let course = course.insert(Course { since: Instant::now(), last, kept: None, report: *report });
            if !dry_run {
                progress.note(&plan(options, &course.report));
            }
        }
        Told::Refining(done, of) => {
            if let Some(course) = &mut course {
                course.since = Instant::now();
            }
            progress.show_steps("refining", done as u64, of as u64, of as u64);
        }
        Told::Learned { step, learned, .. } => {
            let Some(course) = &mut course else { return };
            course.last = (step, learned.loss);
            progress.tail = format!(", loss {:.5}", learned.loss);
            progress.show_steps("training", step, course.report.steps.1, course.report.batch as u64);
        }
        Told::Kept(kept) => {
            if let Some(judged) = &kept.judged {
                progress.note(&format!("step {}: {}", kept.step, judged.words()));
            }
            if let Some(course) = &mut course {
                course.kept = Some(kept.folder);
            }
        }
        Told::Samples { .. } => {}
    });
    driver.finish();
    rest?;
    match course {
        Some(course) if dry_run => {
            say_out(&format!("{}\n\n{}", plan(options, &course.report), course.report.config.trim_end()))?;
        }
        Some(course) if !options.quiet => end(&driver, options, course)?,
        _ => {}
    }
    Ok(if driver.interrupted { driver.stopped() } else { Outcome::Done })
}

/// What is about to be done, in words.
fn plan(options: &TrainOptions, report: &TrainReport) -> String {
    let TrainReport { objective, steps: (first, last), batch, device, .. } = report;
    let out = options.out.display();
    format!("{objective}: steps {first} to {last} of {batch} pictures each, on {}, into {out}", device.name)
}

/// Says what was done, where it lies, and how it goes on.
fn end(driver: &Driver, options: &TrainOptions, course: Course) -> anyhow::Result<()> {
    let Course { report, since, last: (step, loss), kept } = course;
    let kept = kept.or_else(|| report.kept.last().map(|kept| kept.folder.clone()));
    let is_kept = kept.is_some();
    let lies = kept.map_or_else(|| "nothing is kept".to_owned(), |place| format!("kept in {}", place.display()));
    let made = match step - report.steps.0 {
        0 => "no step was made".to_owned(),
        steps => format!(
            "{} in {}, loss {loss:.5}",
            counted(steps as usize, "step"),
            duration(since.elapsed().as_secs_f64())
        ),
    };
    say_out(&format!("{made}: {lies}"))?;
    if is_kept {
        driver.say(&format!(
            "`lapidary train {} --resume --out {}` goes on, with more steps in its config.toml if all are done",
            options.role.word(),
            word(&options.out)
        ));
    }
    Ok(())
}
