//! `lapidary bench --layers`: where the time of the compiled networks goes, step by step.

use std::fmt::Write as _;
use std::time::Instant;

use burn::tensor::Device;

use super::{BenchOptions, Networks};
use crate::checkpoint::{Weights, unwatched};
use crate::classifier::Classifier;
use crate::generator::Generator;
use crate::net::{Roofline, StepTime};
use crate::session::host::Folders;
use crate::zoo::resolve;

/// How often every step is timed.
const ROUNDS: usize = 7;

/// A table of every step of the networks for each of the batches, on the CPU; a network that is not compiled has a line that says
/// so.
///
/// # Errors
/// When a model cannot be read, or is not the one that its manifest means.
pub fn layers(options: &BenchOptions, folders: &Folders) -> anyhow::Result<String> {
    let settings = &options.settings;
    let networks = options.layers.unwrap_or(Networks { generator: true, classifier: true });
    let batches = options.batches.iter().map(|n| *n as usize);
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
        model.confirm(checkpoint.sha256(&mut unwatched)?)?;
        Ok((model.manifest, checkpoint))
    };
    let mut size = None;
    if networks.generator {
        let (manifest, checkpoint) = open(&settings.generate.generator)?;
        let mut watch = unwatched;
        let (generator, _) = Generator::read(&manifest, Weights::watched(&checkpoint, &mut watch), &device)?;
        size = Some(manifest.size());
        for n in batches.clone() {
            table(&mut text, (&manifest.title, n), generator.profile(n, ROUNDS, &machine), machine.flops)?;
        }
    }
    if networks.classifier {
        let (manifest, checkpoint) = open(&settings.refine.classifier)?;
        let mut watch = unwatched;
        let (classifier, _) = Classifier::read(&manifest, Weights::watched(&checkpoint, &mut watch), &device)?;
        let size = size.unwrap_or_else(|| manifest.size());
        for n in batches {
            table(&mut text, (&manifest.title, n), classifier.profile(n, size, ROUNDS, &machine), machine.flops)?;
        }
    }
    Ok(text)
}

fn table(text: &mut String, (title, n): (&str, usize), steps: Option<Vec<StepTime>>, peak: f64) -> anyhow::Result<()> {
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
            (format!("{:.1}", step.rate() / 1e9), format!("{:.0}%", 100.0 * step.rate() / peak))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_row_and_what_has_no_steps_says_so() {
        let step = |backward, flops| StepTime {
            backward,
            what: "convolution 3×3".to_owned(),
            path: "tiles".to_owned(),
            shape: [8, 8, 16],
            seconds: 0.001,
            flops,
            least: 0.0005,
            bound_by_memory: flops == 0.0,
        };
        let mut text = String::new();
        table(&mut text, ("A net", 4), Some(vec![step(false, 5e6), step(true, 0.0)]), 1e10).unwrap();
        let lines: Vec<&str> = text.trim().lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0], "A net, 4 at once: 2.00 ms");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let first = ["1000.0", "50.0%", "5.0", "50%", "50%", "sums", "convolution", "3×3", "8×8×16", "tiles"];
        assert_eq!(words(lines[2]), first);
        assert_eq!(words(lines[3])[..5], ["1000.0", "50.0%", "50%", "memory", "↩"], "no operations, no rate");
        table(&mut text, ("Another", 4), None, 1e10).unwrap();
        assert!(text.trim().lines().last().unwrap().contains("Another: runs burn's operations"));
    }
}
