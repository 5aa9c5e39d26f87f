//! From steps to two programs: one forwards, one backwards, each with as few buffers as it can do with.

use super::finish::Curve;
use super::map::{GROUP, Shape};
use super::plain::Plain;
use super::sketch::{Kind, Sketch};

/// Steps over numbered buffers.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) ops: Vec<Op>,
    /// What lies in every buffer.
    pub(super) buffers: Vec<Shape>,
    /// Where the inputs are put.
    pub(super) inputs: Vec<usize>,
    /// Where the result lies.
    pub(super) output: usize,
    /// Where values lie that are read when all is computed.
    pub(super) kept: Vec<usize>,
}

/// `to = after(kind(from, add, film))`; `add` is added by convolutions and [`Plain`] steps, and lies behind the channels of
/// `from` for norms.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) kind: Kind,
    pub(super) from: usize,
    pub(super) add: Option<usize>,
    /// Factors and summands per picture, of norms.
    pub(super) film: Option<usize>,
    pub(super) to: usize,
    pub(super) after: After,
    /// Where on the tape it keeps the activation's derivative or the places of the maxima.
    pub(super) writes: Option<usize>,
    /// Where the places lie that the gradient of a max-pool goes to.
    pub(super) places: Option<usize>,
}

/// What is done to a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    Curve(Curve),
    /// Multiplies by the derivative that lies there on the tape.
    Derivative(usize),
}

/// Something that the forward pass keeps for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Derivative(Curve, Shape),
    Places(Shape),
}

/// Both programs and what goes from one to the other.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) forward: Program,
    pub(super) backward: Program,
    pub(super) tape: Vec<Keep>,
}

impl Sketch {
    pub(super) fn programs(self) -> Programs {
        let Self { values, steps, inputs, kept, .. } = self;
        let differentiable = steps.iter().all(|step| step.backward.is_some());
        let mut tape = Vec::new();
        let mut derivatives = vec![None; values.len()];
        // While values are not yet buffers, every value has its own.
        let mut forward = Program { buffers: values.iter().map(|made| made.shape).collect(), ..Program::default() };
        let mut backward = Program::default();
        let gradient = |backward: &mut Program, value: usize| {
            let made = &values[value];
            let channels = made.channels.next_multiple_of(GROUP);
            backward.buffers.push(Shape { channels, halo: made.gradient_halo, ..made.shape });
            backward.buffers.len() - 1
        };
        let last = values.len() - 1;
        (forward.inputs, forward.output, forward.kept) = (inputs, last, kept);
        let first = gradient(&mut backward, last);
        (backward.inputs, backward.output) = (vec![first], first);
        let mut back = Vec::new();
        for step in steps {
            let (mut writes, mut places) = (None, None);
            if let Some(curve) = values[step.y].curve.filter(|_| differentiable) {
                derivatives[step.y] = Some(tape.len());
                writes = Some(tape.len());
                tape.push(Keep::Derivative(curve, values[step.y].shape));
            } else if differentiable && matches!(step.forward, Kind::Plain(Plain::MaxPool)) {
                (writes, places) = (Some(tape.len()), Some(tape.len()));
                tape.push(Keep::Places(values[step.y].shape));
            }
            let after = values[step.y].curve.map_or(After::Nothing, After::Curve);
            let (from, add, film, to) = (step.x, step.add, step.film, step.y);
            forward.ops.push(Op { kind: step.forward, from, add, film, to, after, writes, places: None });
            back.extend(step.backward.map(|kind| (kind, [from, to], add, places)));
        }
        forward.share_buffers();
        if !differentiable {
            return Programs { forward, backward: Program::default(), tape };
        }
        let mut uses: Vec<usize> = values.iter().map(|made| made.uses).collect();
        // What has been summed up of every value's gradient.
        let mut sums: Vec<Option<usize>> = vec![None; values.len()];
        sums[last] = Some(first);
        for (kind, [x, y], add, places) in back.into_iter().rev() {
            let Some(from) = sums[y] else { continue };
            if let Some(add) = add {
                // The sum's gradient is its summands'.
                uses[add] -= 1;
                debug_assert!(sums[add].is_none(), "a summand is read before it is added");
                debug_assert!(uses[add] > 0 || values[add].curve.is_none(), "an activated value is not only added");
                sums[add] = Some(from);
            }
            uses[x] -= 1;
            let to = gradient(&mut backward, x);
            let after = match derivatives[x] {
                Some(derivative) if uses[x] == 0 => After::Derivative(derivative),
                _ => After::Nothing,
            };
            backward.ops.push(Op { kind, from, add: sums[x], film: None, to, after, writes: None, places });
            sums[x] = Some(to);
            backward.output = to;
        }
        backward.share_buffers();
        Programs { forward, backward, tape }
    }
}

impl Program {
    /// Gives values that do not live at the same time and have the same shape one buffer.
    ///
    /// Of the same shape only, so that the zeros around a map stay.
    fn share_buffers(&mut self) {
        let mut last_use = vec![0; self.buffers.len()];
        for (i, op) in self.ops.iter().enumerate() {
            for used in op.reads().into_iter().flatten() {
                last_use[used] = i;
            }
        }
        for end in self.kept.iter().chain([&self.output]) {
            last_use[*end] = self.ops.len();
        }
        let mut shared: Vec<Shape> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut place: Vec<Option<usize>> = vec![None; self.buffers.len()];
        let mut take = |value: usize, free: &mut Vec<usize>| {
            let shape = self.buffers[value];
            let found = free.iter().position(|buffer| shared[*buffer] == shape);
            if let Some(i) = found {
                return free.swap_remove(i);
            }
            shared.push(shape);
            shared.len() - 1
        };
        for input in &self.inputs {
            place[*input] = Some(take(*input, &mut free));
        }
        for (i, op) in self.ops.iter_mut().enumerate() {
            // What is joined is made by several steps.
            let to = place[op.to].unwrap_or_else(|| take(op.to, &mut free));
            place[op.to] = Some(to);
            let read = op.reads();
            for (k, used) in read.into_iter().enumerate() {
                let Some(used) = used else { continue };
                if last_use[used] == i && !read[..k].contains(&Some(used)) {
                    free.extend(place[used]);
                }
            }
            let buffer = |value: usize| place[value].expect("a value is made before it is read");
            (op.from, op.add, op.film, op.to) = (buffer(op.from), op.add.map(buffer), op.film.map(buffer), to);
        }
        let buffer = |value: usize| place[value].expect("both ends are values");
        self.inputs.iter_mut().for_each(|input| *input = buffer(*input));
        self.output = buffer(self.output);
        self.kept.iter_mut().for_each(|kept| *kept = buffer(*kept));
        self.buffers = shared;
    }
}

impl Op {
    const fn reads(&self) -> [Option<usize>; 3] {
        [Some(self.from), self.add, self.film]
    }
}
