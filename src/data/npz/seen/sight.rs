//! What must agree where features are compared: which network saw which pictures, and how.

use serde::{Deserialize, Serialize};

/// Which pictures: SHA-256 of the form and the 8-bit levels of one, as four numbers, or the sum of many, each modulo 2^64. So
/// the same pictures have the same sum in any order and from any kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(pub [u64; 4]);

impl Digest {
    /// Of one picture, `[C, H, W]`.
    #[must_use]
    pub fn of(shape: [usize; 3], levels: &[u8]) -> Self {
        let form: Vec<u8> = shape.iter().flat_map(|side| (*side as u64).to_le_bytes()).collect();
        let digits = crate::file::sha256(&[&form, levels]);
        let number = |place: usize| digits.get(16 * place..16 * (place + 1)).unwrap_or_default();
        Self([0, 1, 2, 3].map(|place| u64::from_str_radix(number(place), 16).unwrap_or_default()))
    }

    /// Of many.
    #[must_use]
    pub fn sum(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |Self(sum), Self(own)| {
            Self([0, 1, 2, 3].map(|place| sum[place].wrapping_add(own[place])))
        })
    }

    /// In lower-case hexadecimal digits.
    #[must_use]
    pub fn digits(self) -> String {
        crate::file::hex(&self.0.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>())
    }
}

/// What saw pictures, how, and which these were: what features of another file must agree in to be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Name of the network.
    pub extractor: String,
    /// SHA-256 of its weights.
    pub sha256: String,
    /// Numbers of a picture.
    pub features: usize,
    /// `[C, H, W]` of the pictures.
    pub shape: [usize; 3],
    /// Levels of a colour that the pictures were rounded to.
    pub levels: usize,
    /// What the network does to their size first.
    pub resize: String,
    /// What computed it.
    pub device: String,
    /// Pictures.
    pub pictures: usize,
    /// [`Digest`] of them all.
    pub pictures_sha256: String,
}

impl Sight {
    /// Levels of a colour that all pictures are rounded to before they are looked at, as files of 8 bits have them.
    pub const LEVELS: usize = 256;

    /// In an archive of this kind.
    pub(super) fn text(&self, kind: &str) -> String {
        let written = Written { format: kind.to_owned(), sight: self.clone() };
        serde_json::to_string(&written).unwrap_or_default()
    }
}

/// A [`Sight`] as it is written.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    /// Of which kind the archive is.
    pub(super) format: String,
    #[serde(flatten)]
    pub(super) sight: Sight,
}
