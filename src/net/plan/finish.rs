//! What happens to a sum on its way to memory: the activation, or the activation's derivative.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use pulp::Simd;

use super::map::GROUP;

/// What stands between linear maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Curve {
    /// `max(x, 0)`; its derivative is one bit.
    Relu,
    /// `x sigmoid(x)`
    Silu,
}

/// What the forward pass keeps for the backward pass, of all pictures.
#[derive(Debug)]
pub(super) enum Kept {
    /// Where a ReLU lets pass, one word per group.
    Bits(Vec<u16>),
    /// A derivative per value.
    Factors(Vec<f32>),
    /// Which of its nine pixels a maximum was.
    Places(Vec<u8>),
}

/// The part of it that belongs to a block, to be filled or read; index 0 is the block's first pixel.
#[derive(Debug)]
pub(super) enum Finish<'a> {
    Nothing,
    Relu(Option<&'a mut [u16]>),
    Silu(Option<&'a mut [f32]>),
    /// Nothing is left to do: the places of maxima are filled in as they are found.
    Places(&'a mut [u8]),
    /// Multiplies by a derivative.
    Bits(&'a [u16]),
    Factors(&'a [f32]),
}

/// One bit per lane of a group.
const LANES: [u32; GROUP] = {
    let mut lanes = [0; GROUP];
    let mut i = 0;
    while i < GROUP {
        lanes[i] = 1 << i;
        i += 1;
    }
    lanes
};

/// The same as numbers, which can be summed up exactly.
const POWERS: [f32; GROUP] = {
    let mut powers = [0.0; GROUP];
    let mut i = 0;
    while i < GROUP {
        powers[i] = LANES[i] as f32;
        i += 1;
    }
    powers
};

/// Finishes a few groups of one pixel; `group` is the number of the first among all of the block.
///
/// NaN passes, as in PyTorch.
#[inline(always)]
pub(super) fn finish<S: Simd>(simd: S, how: &mut Finish<'_>, values: &mut [S::f32s], group: usize) {
    let per_group = GROUP / S::F32_LANES;
    match how {
        Finish::Nothing | Finish::Places(_) => {}
        Finish::Relu(bits) => {
            let (zero, one) = (simd.splat_f32s(0.0), simd.splat_u32s(1));
            let (powers, _) = S::as_simd_f32s(&POWERS);
            for (g, values) in values.chunks_mut(per_group).enumerate() {
                let mut word = zero;
                for (value, power) in values.iter_mut().zip(powers) {
                    // The second operand is what is left of a NaN.
                    *value = simd.max_f32s(zero, *value);
                    // What is not zero has bits below its sign.
                    let magnitude = simd.and_u32s(simd.transmute_u32s_f32s(*value), simd.splat_u32s(i32::MAX as u32));
                    let passes = mask(simd, simd.min_u32s(magnitude, one));
                    let power = simd.and_u32s(simd.transmute_u32s_f32s(*power), passes);
                    word = simd.add_f32s(word, simd.transmute_f32s_u32s(power));
                }
                if let Some(bits) = bits {
                    bits[group + g] = simd.reduce_sum_f32s(word) as u16;
                }
            }
        }
        Finish::Silu(factors) => {
            let one = simd.splat_f32s(1.0);
            for (v, value) in values.iter_mut().enumerate() {
                let (x, sigmoid) = (*value, sigmoid(simd, *value));
                *value = simd.mul_f32s(x, sigmoid);
                if let Some(factors) = factors {
                    let slope = simd.mul_add_f32s(x, simd.sub_f32s(one, sigmoid), one);
                    let at = group * GROUP + v * S::F32_LANES;
                    S::as_mut_simd_f32s(&mut factors[at..at + S::F32_LANES]).0[0] = simd.mul_f32s(slope, sigmoid);
                }
            }
        }
        Finish::Bits(bits) => {
            let ((lanes, _), one) = (S::as_simd_u32s(&LANES), simd.splat_u32s(1));
            for (word, values) in bits[group..].iter().zip(values.chunks_mut(per_group)) {
                let word = simd.splat_u32s(u32::from(*word));
                for (value, lane) in values.iter_mut().zip(lanes) {
                    let passes = mask(simd, simd.min_u32s(simd.and_u32s(word, *lane), one));
                    let bits = simd.and_u32s(simd.transmute_u32s_f32s(*value), passes);
                    *value = simd.transmute_f32s_u32s(bits);
                }
            }
        }
        Finish::Factors(factors) => {
            let (factors, _) = S::as_simd_f32s(&factors[group * GROUP..]);
            for (value, factor) in values.iter_mut().zip(factors) {
                *value = simd.mul_f32s(*value, *factor);
            }
        }
    }
}

/// All bits where there is a 1, none where there is a 0. pulp's own choice between two values is a call on AVX2.
#[inline(always)]
pub(in crate::net) fn mask<S: Simd>(simd: S, ones: S::u32s) -> S::u32s {
    simd.sub_u32s(simd.splat_u32s(0), ones)
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
pub(in crate::net) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let [sum, scale] = exp(simd, simd.sub_f32s(simd.splat_f32s(0.0), x));
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.mul_add_f32s(sum, scale, one))
}

/// The exponential as the product of a polynomial of degree 6 and a power of two, right to two roundings; that of -87 for
/// what is less, that of 88 for what is more.
#[inline(always)]
pub(in crate::net) fn exp<S: Simd>(simd: S, x: S::f32s) -> [S::f32s; 2] {
    /// ln 2 in two parts: the first has few bits, so that its multiples are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// 1.5 * 2^23: adding it rounds to a whole number, which is then in the last bits.
    const ROUND: f32 = 12_582_912.0;
    /// Taylor's, the highest first.
    const TERMS: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    // A power of two must not overflow. The second operand is what is left of a NaN.
    let x = simd.min_f32s(simd.splat_f32s(88.0), simd.max_f32s(simd.splat_f32s(-87.0), x));
    let shifted = simd.mul_add_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUND));
    let power = simd.sub_f32s(shifted, simd.splat_f32s(ROUND));
    let rest = simd.mul_add_f32s(power, simd.splat_f32s(-LN_2[0]), x);
    let rest = simd.mul_add_f32s(power, simd.splat_f32s(-LN_2[1]), rest);
    let mut sum = simd.splat_f32s(TERMS[0]);
    for term in &TERMS[1..] {
        sum = simd.mul_add_f32s(sum, rest, simd.splat_f32s(*term));
    }
    // The exponent's place in a number's bits.
    let exponent = simd.sub_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(ROUND.to_bits() - 127));
    [sum, simd.transmute_f32s_u32s(simd.mul_u32s(exponent, simd.splat_u32s(1 << 23)))]
}
