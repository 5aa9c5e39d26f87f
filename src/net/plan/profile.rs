//! What a plan's steps take, and how far that is from what the machine could do.

use super::compile::{Op, Program};
use super::map::Map;
use super::method::Method;
use super::plain::{Gather, Plain};
use super::run::Tape;
use super::sketch::Kind;
use super::{Plan, Roofline};

/// A step of a network, timed.
#[derive(Debug, Clone)]
pub struct StepTime {
    /// Whether it is one of the gradient's.
    pub backward: bool,
    /// What is computed: `convolution 3x3`, `group norm`.
    pub what: String,
    /// How, and why so.
    pub path: String,
    /// `[H, W, C]` of the result, padded channels included.
    pub shape: [usize; 3],
    /// Median of the rounds.
    pub seconds: f64,
    /// Operations of the plain algorithm, a product and a sum being two; padded channels included.
    pub flops: f64,
    /// The least that the machine needs for what is done, as fast as [`Roofline`] says.
    pub least: f64,
    /// Whether that least is the memory's: weights and maps read and written once.
    pub bound_by_memory: bool,
}

impl Plan {
    /// Runs `n` pictures of `[H, W]` pixels so many times by the machine's clock, forwards and, where there is a gradient, back.
    ///
    /// # Panics
    /// When `rounds` is 0.
    #[must_use]
    pub fn profile(&self, (n, size): (usize, [usize; 2]), rounds: usize, machine: &Roofline<'_>) -> Vec<StepTime> {
        assert!(rounds > 0, "at least one round");
        let clock = machine.clock;
        let programs = [&self.programs.forward, &self.programs.backward];
        let mut steps: Vec<_> = programs.iter().map(|program| vec![Vec::new(); program.ops.len()]).collect();
        for _ in 0..rounds {
            let mut tape = Tape::fresh(&self.programs.tape, n, size);
            for (direction, (program, steps)) in programs.iter().zip(&mut steps).enumerate() {
                let mut buffers = self.take(direction, n, size);
                let (mut times, mut since) = (steps.iter_mut(), clock());
                let mut done = || {
                    let now = clock();
                    if let Some(step) = times.next() {
                        step.push(now - since);
                    }
                    since = now;
                };
                let (written, read) =
                    if direction == 0 { (tape.kept_mut(), &[][..]) } else { (&mut [][..], tape.kept()) };
                self.run(program, (n, size), &mut buffers, (written, read), &mut done);
                self.give_back(direction, buffers);
            }
        }
        let mut found = Vec::new();
        for (direction, (program, times)) in programs.iter().zip(steps).enumerate() {
            for (op, mut times) in program.ops.iter().zip(times) {
                times.sort_by(f64::total_cmp);
                found.push(program.step(op, (direction == 1, n, size), times[times.len() / 2], machine));
            }
        }
        found
    }
}

impl Program {
    fn step(
        &self,
        op: &Op,
        (backward, n, size): (bool, usize, [usize; 2]),
        seconds: f64,
        machine: &Roofline<'_>,
    ) -> StepTime {
        let map = |buffer: usize| self.buffers[buffer].of(size);
        let (from, to) = (map(op.from), map(op.to));
        let pixels = (n * to.height * to.width) as f64;
        let maps: usize = [op.from, op.to].into_iter().chain(op.add).map(|buffer| map(buffer).len()).sum();
        let bytes = (size_of::<f32>() * (op.kind.weights() + n * maps)) as f64;
        let (what, path) = op.kind.words(backward);
        let (flops, done) = op.kind.flops(from, to);
        let (flops, done) = (flops * pixels, done * pixels);
        StepTime {
            backward,
            what,
            path,
            shape: [to.height, to.width, to.channels],
            seconds,
            flops,
            least: machine.seconds(done, bytes),
            bound_by_memory: bytes / machine.bytes > done / machine.flops,
        }
    }
}

impl Kind {
    /// What it is, and how it is done and why.
    fn words(&self, backward: bool) -> (String, String) {
        let plain = |what: &str| (what.to_owned(), "pixel by pixel".to_owned());
        match self {
            Self::Conv(Method::Winograd(winograd), _) => {
                let m = winograd.m;
                let fewer = 9.0 * (m * m) as f64 / ((m + 2) * (m + 2)) as f64;
                let others = if m == 2 && backward { ", larger tiles cost more" } else { "" };
                ("convolution 3x3".to_owned(), format!("Winograd F({m}x{m}): {fewer:.2} times fewer products{others}"))
            }
            Self::Conv(Method::Direct(passes), _) => {
                let [rows, columns] = passes.iter().fold([0, 0], |[y, x], pass| [y + pass.taps[0], x + pass.taps[1]]);
                let (rows, columns) = if passes.len() > 1 { (rows / 2, columns / 2) } else { (rows, columns) };
                let why = match (rows, passes.len(), passes.first().map_or(1, |pass| pass.step)) {
                    (_, 2.., _) => "the gradient of a stride, one pass for every parity",
                    (3, _, 1) => "tiles would cost more on so few pixels or channels",
                    (3, ..) => "tiles need stride 1",
                    _ => "tiles are for 3x3",
                };
                (format!("convolution {rows}x{columns}"), format!("direct: {why}"))
            }
            Self::Plain(kind) => plain(match kind {
                Plain::Affine { .. } => "factors and summands",
                Plain::MaxPool | Plain::MaxUnpool => "max-pool",
                Plain::AvgPool | Plain::AvgUnpool => "average pool",
                Plain::Mean | Plain::Spread => "mean",
                Plain::Upsample => "upsampling",
                Plain::Gather { what: Gather::Copy, .. } => "joining",
                Plain::Gather { .. } => "pool 3x3",
            }),
            Self::Norm(_) => {
                ("group norm".to_owned(), "one pass for the statistics, one for everything else".to_owned())
            }
            Self::Attention(_) => ("attention".to_owned(), "a few pixels' scores at a time".to_owned()),
        }
    }

    /// Operations for a pixel of the result: of the plain algorithm, and those that are done.
    fn flops(&self, from: Map, to: Map) -> (f64, f64) {
        match self {
            Self::Conv(Method::Direct(passes), _) => {
                let each = 2.0 * self.weights() as f64 / passes.len() as f64;
                (each, each)
            }
            Self::Conv(Method::Winograd(winograd), _) => {
                let (m, side) = (winograd.m, winograd.m + 2);
                let products = self.weights() as f64 / (side * side) as f64;
                (18.0 * products, 2.0 * products * (side * side) as f64 / (m * m) as f64)
            }
            Self::Attention(_) => {
                let each = 4.0 * (from.height * from.width * to.channels) as f64;
                (each, each)
            }
            Self::Plain(_) | Self::Norm(_) => (0.0, 0.0),
        }
    }
}

impl StepTime {
    /// Operations per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.flops / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::sketch::Sketch;
    use super::super::tests::filter;
    use super::super::{Plan, Roofline, lanes, processor};

    #[test]
    fn every_step_is_timed_by_the_clock_and_counted_as_the_plain_algorithm() {
        let Some(arch) = processor() else { return };
        let mut sketch = Sketch::new(3, [8, 8], lanes(arch));
        let x = sketch.conv(0, &filter(&mut 1, [16, 3, 3], 1, false), None, None);
        let x = sketch.mean(x);
        sketch.conv(x, &filter(&mut 2, [5, 16, 1], 1, false), None, None);
        let plan = Plan::new(sketch, arch, &[0.0; 3], &[1.0; 3]);

        let ticks = Cell::new(0.0);
        let clock = || ticks.replace(ticks.get() + 1.0);
        let machine = Roofline { flops: 1e9, bytes: 1e9, clock: &clock };
        let steps = plan.profile((2, [8, 8]), 3, &machine);
        let (forwards, back): (Vec<_>, Vec<_>) = steps.iter().partition(|step| !step.backward);
        assert_eq!((forwards.len(), back.len()), (3, 3));
        assert!(steps.iter().all(|step| step.seconds == 1.0), "one tick from step to step");
        assert_eq!(forwards[0].what, "convolution 3x3");
        // Two pictures of 8x8 pixels, 9 taps of 4 channels in memory and 16 outputs, a product and a sum each.
        assert_eq!(forwards[0].flops, f64::from(2 * 64 * 9 * 4 * 16 * 2));
        assert!(forwards[1].flops == 0.0 && forwards[1].bound_by_memory, "a mean only reads");
    }
}
