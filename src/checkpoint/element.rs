//! Element types of stored tensors, and how their bytes become `f32`.

/// Element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Anything that is no floating-point number, such as a counter, by its name.
    Other(&'static str),
}

impl std::fmt::Display for Element {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Other(name) => name,
        })
    }
}

impl Element {
    /// Bytes per element; 0 where it is not known.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(_) => 0,
        }
    }

    /// Whether it is a floating-point number.
    #[must_use]
    pub const fn is_float(self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Native-endian bytes to `f32`.
    pub(super) fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            Self::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_ne_bytes(*b) as f32).collect(),
            Self::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_ne_bytes(*b)).collect(),
            Self::F16 => bytes.as_chunks().0.iter().map(|b| half_to_f32(u16::from_ne_bytes(*b))).collect(),
            Self::Bf16 => {
                bytes.as_chunks().0.iter().map(|b| f32::from_bits(u32::from(u16::from_ne_bytes(*b)) << 16)).collect()
            }
            Self::Other(_) => return None,
        })
    }
}

/// IEEE 754 half precision to single precision, exactly.
fn half_to_f32(bits: u16) -> f32 {
    /// Value of the last place of a subnormal half: 2^-24.
    const SUBNORMAL: f32 = 1.0 / 16_777_216.0;
    /// Difference of the exponents' biases, 127 - 15.
    const BIAS: u32 = 112;
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from((bits >> 10) & 0x1f), u32::from(bits & 0x3ff));
    match exponent {
        0 => f32::from_bits(sign | (fraction as f32 * SUBNORMAL).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + BIAS) << 23) | (fraction << 13)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_widened_exactly() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 5.960_464_5e-8), (0x8001, -5.960_464_5e-8), (0x7bff, 65504.0)]
        {
            assert_eq!(half_to_f32(bits), value);
        }
        assert_eq!(half_to_f32(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert!(half_to_f32(0x7c00).is_infinite() && half_to_f32(0x7e00).is_nan());
        assert_eq!(Element::Bf16.to_f32(&0x3f80_u16.to_ne_bytes()), Some(vec![1.0]));
    }
}
