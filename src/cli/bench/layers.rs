//! `lapidary bench --layers`: where the time of the compiled networks goes, step by step.

use std::fmt::Write as _;
use std::time::Instant;

use burn::tensor::Device;

use super::BenchOptions;
use crate::checkpoint::{Weights, unwatched};
use crate::classifier::Classifier;
use crate::generator::Generator;
use crate::net::{Roofline, StepTime};
use crate::session::host::Folders;
use crate::zoo::resolve;

/// How often every step is timed.
const ROUNDS: usize = 7;

/// A table of every step of both networks for the largest of the batches, on the CPU whatever device is asked for; a network
/// that is not compiled has a line that says so.
///
/// # Errors
/// When a model cannot be read.
pub fn layers(options: &BenchOptions, folders: &Folders) -> anyhow::Result<String> {
    let settings = &options.settings;
    let n = options.batches.iter().copied().max().unwrap_or(1) as usize;
    let device = Device::flex();
    let start = Instant::now();
    let clock = || start.elapsed().as_secs_f64();
    let machine = Roofline::measure(&clock);
    let mut text = format!(
        "{} threads reach {:.0} GFLOP/s (fused multiply-adds in registers) and {:.1} GB/s (triad), measured now.\n\
         Below: operations of the plain algorithm per second, their share of the former, and the share that the time would have \
         if what is done went as fast as either allows.\n",
        rayon::current_num_threads(),
        machine.flops / 1e9,
        machine.bytes / 1e9,
    );
    let open = |reference: &str| -> anyhow::Result<_> {
        let model = resolve(reference, &folders.cache)?;
        let checkpoint = model.open()?;
        Ok((model.manifest, checkpoint))
    };
    let (manifest, checkpoint) = open(&settings.generate.generator)?;
    let mut watch = unwatched;
    let (generator, _) = Generator::read(&manifest, Weights::watched(&checkpoint, &mut watch), &device)?;
    let size = manifest.size();
    table(&mut text, (&manifest.title, n), generator.profile(n, ROUNDS, &machine), machine)?;
    drop(generator);
    let (manifest, checkpoint) = open(&settings.refine.classifier)?;
    let mut watch = unwatched;
    let (classifier, _) = Classifier::read(&manifest, Weights::watched(&checkpoint, &mut watch), &device)?;
    table(&mut text, (&manifest.title, n), classifier.profile(n, size, ROUNDS, &machine), machine)?;
    Ok(text)
}

fn table(
    text: &mut String,
    (title, n): (&str, usize),
    steps: Option<Vec<StepTime>>,
    machine: Roofline<'_>,
) -> anyhow::Result<()> {
    let Some(steps) = steps else {
        writeln!(text, "\n{title}: runs burn's operations, which have no steps to time (LAPIDARY_KERNELS=burn)")?;
        return Ok(());
    };
    let all: f64 = steps.iter().map(|step| step.seconds).sum();
    writeln!(text, "\n{title}, {n} at once: {:.2} ms", all * 1e3)?;
    writeln!(
        text,
        "{:>9} {:>6} {:>8} {:>6} {:>6}  {:<6} {:<22} {:<14} path",
        "µs", "share", "GFLOP/s", "peak", "limit", "by", "step", "H×W×C"
    )?;
    for step in steps {
        let [height, width, channels] = step.shape;
        let (rate, peak) = if step.flops > 0.0 {
            (format!("{:.1}", step.rate() / 1e9), format!("{:.0}%", 100.0 * step.rate() / machine.flops))
        } else {
            (String::new(), String::new())
        };
        let what = if step.backward { format!("↩ {}", step.what) } else { step.what };
        writeln!(
            text,
            "{:>9.1} {:>5.1}% {rate:>8} {peak:>6} {:>5.0}%  {:<6} {what:<22} {:<14} {}",
            step.seconds * 1e6,
            100.0 * step.seconds / all,
            100.0 * step.least / step.seconds,
            if step.bound_by_memory { "memory" } else { "sums" },
            format!("{height}×{width}×{channels}"),
            step.path,
        )?;
    }
    Ok(())
}
