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
            Self::F32 => bytemuck::pod_collect_to_vec(bytes),
            Self::F16 => bytes.as_chunks().0.iter().map(|b| half::f16::from_ne_bytes(*b).to_f32()).collect(),
            Self::Bf16 => bytes.as_chunks().0.iter().map(|b| half::bf16::from_ne_bytes(*b).to_f32()).collect(),
            Self::Other(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_widened_exactly() {
        let widened = |bits: u16| Element::F16.to_f32(&bits.to_ne_bytes()).unwrap()[0];
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 5.960_464_5e-8), (0x8001, -5.960_464_5e-8), (0x7bff, 65504.0)]
        {
            assert_eq!(widened(bits), value);
        }
        assert_eq!(widened(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert!(widened(0x7c00).is_infinite() && widened(0x7e00).is_nan());
        assert_eq!(Element::Bf16.to_f32(&0x3f80_u16.to_ne_bytes()), Some(vec![1.0]));
    }
}
