//! A dry run of a search: everything is read, and what the run would do is said.

use std::path::Path;

use super::found;
use super::{By, Method, SearchOptions};
use crate::cli::begin::Job;
use crate::cli::describe::{describe_compute, describe_labels, describe_model, would_write};
use crate::cli::refine::Described;
use crate::cli::rehearsal::{Rehearsal, rehearse};
use crate::cli::say::say_out;
use crate::cli::{Earlier, Outcome, RunOptions};
use crate::export::{SEARCHED as TABLE, unfinished_in};
use crate::parameter::Choosable as _;
use crate::units::counted;

/// Looks at all that the run would read, and says what it would do.
pub(super) fn rehearsed(
    options: &SearchOptions,
    job: &Job<'_>,
    (generator, by): (&Described, &By),
) -> anyhow::Result<Outcome> {
    let mut models = vec![generator];
    if let By::Classifier(classifier) = by {
        models.push(classifier);
    }
    let Some(Rehearsal { out, .. }) = rehearse(&options.run, job, &models, generator.0.shape())? else {
        return Ok(Outcome::Done);
    };
    if let By::Set(yardstick) = by {
        yardstick.rehearse(&options.run)?;
    }
    let mut said = plan(options, generator, by, &out)?;
    if options.run.earlier == Earlier::Resume {
        let points = found::read(&unfinished_in(&out).join(TABLE), options.metric).len();
        said = format!("{said}\n{:<11}{}", "resume", not_again(points));
    }
    say_out(&said)?;
    Ok(Outcome::Done)
}

/// What a dry run says.
fn plan(options: &SearchOptions, generator: &Described, by: &By, out: &Path) -> anyhow::Result<String> {
    let RunOptions { settings, notes, .. } = &options.run;
    let generate = &settings.generate;
    let mut lines = notes.clone();
    let (manifest, path) = generator;
    lines.push(describe_model("generator", &generate.generator, manifest, path.as_deref()));
    let count = options.run.count();
    let end = generate.first_seed + count as u64;
    lines.push(format!("{:<11}{}..{end} ({} per point)", "seeds", generate.first_seed, counted(count, "picture")));
    let labels = generate.labels(manifest.classes.len());
    lines.push(format!("{:<11}{}", "classes", describe_labels(&labels, &manifest.classes)));
    lines.push(match by {
        By::Classifier((manifest, path)) => {
            describe_model("classifier", &settings.refine.classifier, manifest, path.as_deref())
        }
        By::Set(yardstick) => yardstick.describe()?,
    });
    let points = match options.method {
        Method::Ternary => "by thirds".to_owned(),
        Method::All => format!("every {}", options.stride),
    };
    let last = options.grid - 1;
    lines.push(format!("{:<11}k of --ts 0,k,{last}/{}, {points}", "searching", options.grid));
    lines.push(format!("{:<11}{}: {}", "metric", options.metric.name(), options.metric.option().about));
    lines.push(describe_compute(settings));
    lines.push(would_write(out, &[TABLE]));
    Ok(lines.join("\n"))
}

/// What is said of points that the same command has judged before.
fn not_again(points: usize) -> String {
    let are = if points == 1 { "is" } else { "are" };
    format!("{} of the same command {are} judged and not judged again", counted(points, "point"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_point_is_judged_and_two_are() {
        let [one, two] = [1, 2].map(not_again);
        assert_eq!(one, "1 point of the same command is judged and not judged again");
        assert_eq!(two, "2 points of the same command are judged and not judged again");
    }
}
