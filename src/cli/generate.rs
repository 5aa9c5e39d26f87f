//! `lapidary generate`: pictures of the generator, any number, and every file about them.

use std::ops::Range;
use std::path::Path;

use anyhow::bail;

use super::begin::{BLOCK, Job};
use super::describe::{describe_compute, describe_generation, describe_model, would_write};
use super::driver::Driver;
use super::maker::Maker;
use super::opened::MAX_TOGETHER;
use super::rehearsal::rehearse;
use super::say::say_out;
use super::{Outcome, RunOptions, flags, shard};
use crate::export::{self, Share};
use crate::generator::{Classes, GenerateSettings, Plan};
use crate::session::host::Folders;
use crate::units::counted;
use crate::zoo::{Manifest, ManifestKind};

/// Generates and writes pictures.
///
/// # Errors
/// The chain from what failed to why; what was finished before stays.
pub fn run(options: &RunOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let (generator, path) = flags::find(&options.settings.generate.generator, true)?;
    check_sampling(&options.settings.generate, &generator)?;
    if let Some(recorded) = &options.recorded {
        recorded.check_samples(&options.settings.generate, generator.classes.len())?;
    }
    let count = options.count();
    let batch = together(options.settings.compute.batch, count);
    let share = options.shard.map(|shard| Share::new(shard, "generate", 0..count, batch));
    if !shard::has_work(share.as_ref()) {
        return Ok(Outcome::Done);
    }
    let files = if share.is_some() { export::SHARED.to_vec() } else { files(count) };
    let bytes = shard::bytes(share.as_ref(), bytes(count, generator.shape(), false));
    let share = share.as_ref();
    let own = share.map_or(0..count, |share| share.own.clone());
    let batches = Some((own.start, own.len()));
    let job = Job { command: "generate", files: &files, pictures: None, mask: None, real: &[], bytes, share, batches };
    if options.dry_run {
        let model = (generator, path);
        let Some(found) = rehearse(options, &job, &[&model], model.0.shape())? else {
            return Ok(Outcome::Done);
        };
        say_out(&found.told(plan(options, (&model.0, model.1.as_deref()), share, (&found.out, &files))))?;
        return Ok(Outcome::Done);
    }
    let Some(begun) = job.begin(options)? else { return Ok(Outcome::Done) };
    let driver = Driver::start(folders, &begun.options)?;
    let mut maker = Maker::new(begun, driver, ("generating", 0..count), batch)?;
    maker.count();
    let ended = windows(maker.rest(), maker.batch).try_for_each(|places| {
        let (settings, _) = maker.settings(&places);
        maker.make(places, |driver| driver.generate(&settings)).map(drop)
    });
    let say = |done, device: &str| format!("{} on {device}", counted(done, "picture"));
    maker.finish(ended.map(|()| Vec::new()), None, false, say, |_| String::new())
}

/// Pictures of every batch of so many but the last: fewer than a batch are a batch of their own.
pub(super) fn together(batch: u32, count: usize) -> usize {
    (batch as usize).clamp(1, count.max(1))
}

/// Places in batches.
pub(super) fn windows(all: Range<usize>, batch: usize) -> impl Iterator<Item = Range<usize>> {
    all.clone().step_by(batch.max(1)).map(move |first| first..(first + batch).min(all.end))
}

/// What so many pictures that are made are written to.
pub(super) fn files(count: usize) -> Vec<&'static str> {
    if count > MAX_TOGETHER { export::LONG_GENERATED.to_vec() } else { export::files(&export::GENERATED) }
}

/// Bytes of so many pictures that are made: levels and floats, of edited ones twice, once in batches and once put together;
/// their part of the sheet, and each by itself where they are few.
pub(super) fn bytes(count: usize, shape: [usize; 3], edited: bool) -> u64 {
    let values: usize = shape.iter().product();
    let (count, values) = (count as u64, values as u64);
    let (own, shown) = if count > MAX_TOGETHER as u64 { (0, export::SHEET_OF_MANY as u64) } else { (count, count) };
    2 * count * (values * if edited { 9 } else { 5 } + 16) + own * (values + BLOCK / 2) + shown * 2 * values
}

/// Sampler, levels and classes must be such as the generator knows, before anything slow begins.
pub(super) fn check_sampling(settings: &GenerateSettings, generator: &Manifest) -> anyhow::Result<()> {
    if let ManifestKind::Generator(spec) = &generator.kind {
        Plan::new(settings, &spec.diffusion)?;
    }
    let classes = generator.classes.len();
    if let Classes::Only(list) = &settings.classes
        && let Some(label) = list.iter().find(|label| **label >= classes.max(1))
    {
        bail!(
            "class {label} is asked for, but {} knows {classes} classes: say others with --classes, or choose another --generator",
            settings.generator
        );
    }
    Ok(())
}

fn plan(
    options: &RunOptions,
    (generator, path): (&Manifest, Option<&Path>),
    share: Option<&Share>,
    (out, files): (&Path, &[&str]),
) -> String {
    let RunOptions { settings, notes, .. } = options;
    let mut lines = notes.clone();
    lines.push(describe_model("generator", &settings.generate.generator, generator, path));
    lines.push(describe_generation(&settings.generate, options.count(), generator));
    lines.extend(share.map(shard::describe));
    lines.push(describe_compute(settings));
    lines.push(would_write(out, files));
    lines.join("\n")
}
