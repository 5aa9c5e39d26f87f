//! Runs a plan's programs over a batch.

use std::mem;
use std::sync::{MutexGuard, PoisonError};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::compile::{After, Keep, Op, Program};
use super::conv::{Maps, conv, conv_by_panels};
use super::finish::{Curve, Finish, Kept};
use super::map::{Block, GROUP, Map, split};
use super::method::Method;
use super::plain::Job;
use super::sketch::Kind;
use super::{Plan, attention, norm};

/// Values that a thread passes over before it asks for more.
const PLAIN: usize = 1 << 16;

/// The buffers of one call.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    size: [usize; 2],
    values: Vec<Vec<f32>>,
}

/// What a forward pass keeps for the backward pass.
#[derive(Debug)]
pub(super) struct Tape {
    n: usize,
    size: [usize; 2],
    kept: Vec<Kept>,
}

impl Tape {
    /// With room for what a plan keeps.
    pub(super) fn fresh(keeps: &[Keep], n: usize, size: [usize; 2]) -> Self {
        Self { n, size, kept: keeps.iter().map(|keep| keep.fresh(n, size)).collect() }
    }

    pub(super) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    pub(super) fn kept_mut(&mut self) -> &mut [Kept] {
        &mut self.kept
    }

    /// Pictures, their height and width.
    pub(super) const fn shape(&self) -> [usize; 3] {
        [self.n, self.size[0], self.size[1]]
    }
}

impl Keep {
    fn fresh(self, n: usize, size: [usize; 2]) -> Kept {
        match self {
            Self::Derivative(Curve::Relu, shape) => Kept::Bits(vec![0; n * words(shape.of(size))]),
            Self::Derivative(Curve::Silu, shape) => Kept::Factors(vec![0.0; n * words(shape.of(size)) * GROUP]),
            Self::Places(shape) => Kept::Places(vec![0; n * words(shape.of(size)) * GROUP]),
        }
    }

    /// Of one picture.
    pub(super) fn bytes(self, size: [usize; 2]) -> u64 {
        let (Self::Derivative(_, shape) | Self::Places(shape)) = self;
        let each = match self {
            Self::Derivative(Curve::Relu, _) => 2,
            Self::Derivative(Curve::Silu, _) => 4 * GROUP,
            Self::Places(_) => GROUP,
        };
        (words(shape.of(size)) * each) as u64
    }
}

/// Groups of a picture's pixels.
const fn words(map: Map) -> usize {
    map.height * map.width * map.groups()
}

/// Where a pixel's groups begin, among all pictures' pixels without halo.
fn kept_part(block: &Block, map: Map, each: usize) -> std::ops::Range<usize> {
    block.part(words(map) * each, map.width * map.groups() * each, 0, map.height)
}

impl Program {
    pub(super) fn weights(&self) -> usize {
        self.ops.iter().map(|op| op.kind.weights()).sum()
    }
}

impl Kind {
    pub(super) fn weights(&self) -> usize {
        match self {
            Self::Conv(method, _) => method.weights(),
            Self::Plain(_) | Self::Norm(_) | Self::Attention(_) => 0,
        }
    }

    /// Whether cores share its weights instead of its `pixels`, which must then be in one block.
    fn goes_by_panels(&self, pixels: usize) -> bool {
        matches!(self, Self::Conv(method, _) if method.goes_by_panels(pixels))
    }

    /// How many pixels make a block, and the rows that must not be cut; no result depends on it.
    fn block(&self, to: Map) -> [usize; 2] {
        match self {
            Self::Conv(method, _) => method.block(),
            Self::Plain(_) => [PLAIN / to.channels, 1],
            Self::Norm(norm) => [PLAIN / to.channels, norm.rows()],
            Self::Attention(_) => [attention::BLOCK, 1],
        }
    }
}

impl Plan {
    /// Logits `[N, K]` of pictures `[N, C, H, W]`, row-major, and with `keep` what their gradient needs.
    pub(super) fn forward(&self, x: &[f32], n: usize, size: [usize; 2], keep: bool) -> (Vec<f32>, Tape) {
        self.evaluate(x, &[], (n, size), keep)
    }

    /// The last map `[N, C, H, W]`, row-major, of pictures and of the vectors that are given with them.
    pub(super) fn evaluate(
        &self,
        x: &[f32],
        vectors: &[&[f32]],
        (n, size): (usize, [usize; 2]),
        keep: bool,
    ) -> (Vec<f32>, Tape) {
        let program = &self.programs.forward;
        let mut tape = Tape::fresh(if keep { &self.programs.tape } else { &[] }, n, size);
        let mut buffers = self.take(0, n, size);
        let (input, output) = (program.inputs[0], program.output);
        let shape = |end: usize| program.buffers[end].of(size);
        let colour = |value: f32, channel: usize| (value - self.colours[channel][0]) / self.colours[channel][1];
        load(x, (&mut buffers.values[input], shape(input)), (n, self.channels()), colour);
        for (vectors, input) in vectors.iter().zip(&program.inputs[1..]) {
            load(vectors, (&mut buffers.values[*input], shape(*input)), (n, vectors.len() / n), |value, _| value);
        }
        self.run(program, (n, size), &mut buffers, (&mut tape.kept, &[]), &mut || ());
        let logits = store((&buffers.values[output], shape(output)), (n, self.classes), |value, _| value);
        self.give_back(0, buffers);
        (logits, tape)
    }

    /// What the last step reads, `[N, D]`, and what it makes of it, `[N, K]`, of pictures `[N, C, H, W]`; of a plan whose last
    /// step sees one pixel.
    pub(super) fn evaluate_last(&self, x: &[f32], batch: (usize, [usize; 2])) -> [Vec<f32>; 2] {
        let [last, output, _] = self.evaluate_kept(x, batch, 0);
        [last, output]
    }

    /// Likewise, and the first `channels` of the map that is kept, `[N, H, W, channels]`.
    pub(super) fn evaluate_kept(&self, x: &[f32], (n, size): (usize, [usize; 2]), channels: usize) -> [Vec<f32>; 3] {
        let program = &self.programs.forward;
        let mut buffers = self.take(0, n, size);
        let shape = |end: usize| program.buffers[end].of(size);
        let colour = |value: f32, channel: usize| (value - self.colours[channel][0]) / self.colours[channel][1];
        let input = program.inputs[0];
        load(x, (&mut buffers.values[input], shape(input)), (n, self.channels()), colour);
        self.run(program, (n, size), &mut buffers, (&mut [], &[]), &mut || ());
        let last = program.ops.last().map_or(program.output, |op| op.from);
        // No other step came after it, so nothing else lies in its buffer.
        let of =
            |end: usize, channels: usize| store((&buffers.values[end], shape(end)), (n, channels), |value, _| value);
        let kept = program.kept.first().map(|kept| pixels((&buffers.values[*kept], shape(*kept)), n, channels));
        let found = [of(last, self.features), of(program.output, self.classes), kept.unwrap_or_default()];
        self.give_back(0, buffers);
        found
    }

    /// The gradient `[N, C, H, W]` of the pictures that follows from the logits' `[N, K]`.
    pub(super) fn backward(&self, tape: &Tape, gradient: &[f32]) -> Vec<f32> {
        let (program, n, size) = (&self.programs.backward, tape.n, tape.size);
        let mut buffers = self.take(1, n, size);
        let (input, output) = (program.inputs[0], program.output);
        let shape = |end: usize| program.buffers[end].of(size);
        load(gradient, (&mut buffers.values[input], shape(input)), (n, self.classes), |value, _| value);
        self.run(program, (n, size), &mut buffers, (&mut [], &tape.kept), &mut || ());
        let scale = |value: f32, channel: usize| value / self.colours[channel][1];
        let result = store((&buffers.values[output], shape(output)), (n, self.channels()), scale);
        self.give_back(1, buffers);
        result
    }

    /// Runs a program over `n` pictures, which writes one part of the tape and reads another; `done` hears when a step is.
    pub(super) fn run(
        &self,
        program: &Program,
        batch: (usize, [usize; 2]),
        buffers: &mut Buffers,
        (written, read): (&mut [Kept], &[Kept]),
        done: &mut dyn FnMut(),
    ) {
        for op in &program.ops {
            let mut y = mem::take(&mut buffers.values[op.to]);
            let kept = op.writes.and_then(|place| written.get_mut(place));
            self.op((program, op), batch, buffers, &mut y, kept, read);
            buffers.values[op.to] = y;
            done();
        }
    }

    fn op(
        &self,
        (program, op): (&Program, &Op),
        (n, size): (usize, [usize; 2]),
        buffers: &Buffers,
        y: &mut [f32],
        kept: Option<&mut Kept>,
        read: &[Kept],
    ) {
        let map = |buffer: usize| program.buffers[buffer].of(size);
        let (from, to) = (map(op.from), map(op.to));
        let x = buffers.values[op.from].as_slice();
        let add = op.add.map(|add| (buffers.values[add].as_slice(), map(add)));
        let [pixels, rows] = op.kind.block(to);
        let (all, threads) = (n * to.height * to.width, rayon::current_num_threads());
        let by_panels = threads > 1 && op.kind.goes_by_panels(all);
        let together = if by_panels { all } else { pixels.min(all.div_ceil(threads)).max(1) };
        let blocks = Block::cut(n, to, together, rows);
        let part = |block: &Block| block.part(to.len(), to.row(), to.halo * to.row(), to.height);
        let parts = split(y, blocks.iter().map(part));
        let finishes = finishes(op.after, (&blocks, to), kept, read);
        let sources: Vec<_> = std::iter::once((x, from)).chain(add).collect();
        let film = op.film.map(|film| (buffers.values[film].as_slice(), map(film)));
        let coefficients = match &op.kind {
            Kind::Norm(norm) => norm.coefficients(self.arch, &sources, film, n),
            _ => Vec::new(),
        };
        let places: &[u8] = match op.places.and_then(|place| read.get(place)) {
            Some(Kept::Places(places)) => places,
            _ => &[],
        };
        let tasks: Vec<_> = blocks.iter().zip(parts).zip(finishes).collect();
        tasks.into_par_iter().for_each(|((block, y), mut how)| {
            let (start, how) = (part(block).start, &mut how);
            match &op.kind {
                Kind::Conv(method, bias) => {
                    let mut maps = Maps { x, from, add, y, to, start };
                    match method {
                        Method::Direct(passes) => {
                            let conv = if by_panels { conv_by_panels } else { conv };
                            conv(self.arch, (passes, bias), block, &mut maps, how);
                        }
                        Method::Winograd(winograd) => {
                            winograd.run(self.arch, (bias, by_panels), block, &mut maps, how);
                        }
                    }
                }
                Kind::Plain(plain) => {
                    self.arch.dispatch(Job { plain, block, x, from, add, y, to, start, places, how });
                }
                Kind::Attention(attention) => attention.run(self.arch, block, (x, from), (y, to, start)),
                Kind::Norm(norm) => {
                    let (coefficients, sources) = (&coefficients, &sources);
                    norm::Job { norm, coefficients, sources, block, y, to, start, how }.run(self.arch);
                }
            }
        });
    }

    /// Buffers for `n` pictures; zero where nothing is ever written.
    pub(super) fn take(&self, direction: usize, n: usize, size: [usize; 2]) -> Buffers {
        let program = [&self.programs.forward, &self.programs.backward][direction];
        let mut buffers = self.idle(direction).pop().filter(|idle| idle.size == size).unwrap_or_default();
        buffers.size = size;
        buffers.values.resize_with(program.buffers.len(), Vec::new);
        for (values, shape) in buffers.values.iter_mut().zip(&program.buffers) {
            let len = n * shape.of(size).len();
            if values.len() < len {
                values.resize(len, 0.0);
            }
        }
        buffers
    }

    pub(super) fn give_back(&self, direction: usize, buffers: Buffers) {
        self.idle(direction).push(buffers);
    }

    fn idle(&self, direction: usize) -> MutexGuard<'_, Vec<Buffers>> {
        self.idle[direction].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How every block ends: what is written to the tape is `kept`, what is read from it lies in `read`.
fn finishes<'a>(
    after: After,
    (blocks, to): (&[Block], Map),
    kept: Option<&'a mut Kept>,
    read: &'a [Kept],
) -> Vec<Finish<'a>> {
    let whole = |each: usize| blocks.iter().map(move |block| kept_part(block, to, each));
    match (kept, after) {
        (Some(Kept::Bits(bits)), _) => split(bits, whole(1)).into_iter().map(|bits| Finish::Relu(Some(bits))).collect(),
        (Some(Kept::Factors(factors)), _) => {
            split(factors, whole(GROUP)).into_iter().map(|factors| Finish::Silu(Some(factors))).collect()
        }
        (Some(Kept::Places(places)), _) => split(places, whole(GROUP)).into_iter().map(Finish::Places).collect(),
        (None, After::Curve(Curve::Relu)) => blocks.iter().map(|_| Finish::Relu(None)).collect(),
        (None, After::Curve(Curve::Silu)) => blocks.iter().map(|_| Finish::Silu(None)).collect(),
        (None, After::Nothing) => blocks.iter().map(|_| Finish::Nothing).collect(),
        (None, After::Derivative(place)) => match &read[place] {
            Kept::Bits(bits) => whole(1).map(|part| Finish::Bits(&bits[part])).collect(),
            Kept::Factors(factors) => whole(GROUP).map(|part| Finish::Factors(&factors[part])).collect(),
            Kept::Places(_) => blocks.iter().map(|_| Finish::Nothing).collect(),
        },
    }
}

/// Puts `n` pictures `[C, H, W]` into a buffer, channels last, the padding channels zero.
fn load(
    pictures: &[f32],
    (buffer, map): (&mut [f32], Map),
    (n, channels): (usize, usize),
    value: impl Fn(f32, usize) -> f32,
) {
    let plane = map.height * map.width;
    for (picture, values) in pictures.chunks(channels * plane).zip(buffer.chunks_mut(map.len())).take(n) {
        for y in 0..map.height {
            let row = &mut values[map.at(y as isize, 0)..][..map.width * map.channels];
            for (x, pixel) in row.chunks_mut(map.channels).enumerate() {
                for (channel, to) in pixel.iter_mut().enumerate() {
                    let real = channel < channels;
                    *to = if real { value(picture[channel * plane + y * map.width + x], channel) } else { 0.0 };
                }
            }
        }
    }
}

/// Takes `n` pictures `[C, H, W]` out of a buffer.
fn store((buffer, map): (&[f32], Map), (n, channels): (usize, usize), value: impl Fn(f32, usize) -> f32) -> Vec<f32> {
    let plane = map.height * map.width;
    let mut pictures = vec![0.0; n * channels * plane];
    for (picture, values) in pictures.chunks_mut(channels * plane).zip(buffer.chunks(map.len())) {
        for (channel, to) in picture.chunks_mut(plane).enumerate() {
            for (y, row) in to.chunks_mut(map.width).enumerate() {
                let from = values[map.at(y as isize, 0) + channel..].iter().step_by(map.channels);
                for (to, from) in row.iter_mut().zip(from) {
                    *to = value(*from, channel);
                }
            }
        }
    }
    pictures
}

/// The first channels of every pixel of `n` pictures.
fn pixels((buffer, map): (&[f32], Map), n: usize, channels: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(n * map.height * map.width * channels);
    for picture in buffer.chunks(map.len()).take(n) {
        for y in 0..map.height {
            let row = &picture[map.at(y as isize, 0)..][..map.width * map.channels];
            values.extend(row.chunks_exact(map.channels).flat_map(|pixel| &pixel[..channels]));
        }
    }
    values
}
