//! A network whose weights do not change, compiled: filters packed for this processor, channels last, biases, activations
//! and sums joined to the convolutions before them, one bit per activation for the gradient. Norms and attention of networks
//! that make pictures have no gradient here.
//!
//! The modules of [`crate::net`] stay the definition; a walk over them ([`Sketch`]) is what a plan is made from. Every
//! output is summed in an order that its layer alone decides, so results are the same to the last bit for any batch,
//! number of threads and length of vectors.

mod attention;
mod compile;
mod conv;
mod finish;
#[cfg(test)]
mod forward_tests;
mod kernel;
mod map;
mod method;
mod norm;
mod op;
mod pack;
mod plain;
mod profile;
mod roofline;
mod run;
mod single;
mod sketch;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod window_tests;
mod winograd;

use std::sync::Mutex;

use pulp::{Arch, Simd, WithSimd};

use self::compile::{Program, Programs};
use self::map::Shape;
use self::run::Buffers;

pub(in crate::net) use self::attention::Attention;
pub(in crate::net) use self::finish::{Curve, exp, mask, sigmoid};
pub(in crate::net) use self::kernel::by_width;
pub(in crate::net) use self::map::GROUP;
pub(in crate::net) use self::norm::{Film, Norm, Resample};
pub(in crate::net) use self::op::{flex_tensor, runs_on, with_values};
pub(in crate::net) use self::pack::Filter;
pub(in crate::net) use self::plain::Gather;
pub use self::profile::StepTime;
pub use self::roofline::Roofline;
use self::run::Tape;
pub(in crate::net) use self::single::{Geometry, Interleave, zeros};
pub(in crate::net) use self::sketch::{Sketch, Value, Window};
pub(in crate::net) use self::winograd::turn_line;

/// A compiled network.
#[derive(Debug)]
pub struct Plan {
    arch: Arch,
    programs: Programs,
    /// Per colour channel, `[mean, std]`.
    colours: Vec<[f32; 2]>,
    classes: usize,
    /// Channels that the last step reads.
    features: usize,
    /// Buffers of calls that are over.
    idle: [Mutex<Vec<Buffers>>; 2],
}

impl Plan {
    /// Compiles a network that ends with `classes` logits and sees `(picture - mean) / std`.
    pub(in crate::net) fn new(sketch: Sketch, arch: Arch, mean: &[f32], std: &[f32]) -> Self {
        let colours = mean.iter().zip(std).map(|(mean, std)| [*mean, *std]).collect();
        let classes = sketch.values.last().map_or(0, |made| made.channels);
        let features = sketch.steps.last().map_or(0, |step| sketch.values[step.x].channels);
        Self { arch, programs: sketch.programs(), colours, classes, features, idle: Default::default() }
    }

    /// Colour channels.
    fn channels(&self) -> usize {
        self.colours.len()
    }

    /// Number of logits.
    const fn classes(&self) -> usize {
        self.classes
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let values: usize = [&self.programs.forward, &self.programs.backward].map(Program::weights).iter().sum();
        4 * values as u64
    }

    /// Bytes that one picture of `[H, W]` pixels needs at the peak of a forward and a backward pass: the picture, its
    /// gradient and a copy, both programs' maps, and the tape.
    #[must_use]
    pub fn activation_bytes(&self, size: [usize; 2]) -> u64 {
        let Programs { forward, backward, tape } = &self.programs;
        let maps = |shapes: &[Shape]| shapes.iter().map(|shape| 4 * shape.of(size).len() as u64).sum::<u64>();
        let kept: u64 = tape.iter().map(|keep| keep.bytes(size)).sum();
        let pictures = 3 * 4 * (self.channels() * size[0] * size[1]) as u64;
        pictures + maps(&forward.buffers) + maps(&backward.buffers) + kept
    }
}

/// The instructions that plans are made for on this processor; `None` when it has no vectors, or when the environment asks
/// for burn's kernels (`LAPIDARY_KERNELS=burn`), which are the definition that a plan is compared with.
pub(in crate::net) fn processor() -> Option<Arch> {
    let burn = std::env::var_os("LAPIDARY_KERNELS").is_some_and(|kernels| kernels == "burn");
    Some(Arch::new()).filter(|arch| !burn && lanes(*arch) > 1)
}

/// How many numbers a vector of this processor has.
pub(in crate::net) fn lanes(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    arch.dispatch(Lanes)
}
