//! Inception of 2015: how its dialects hand it a picture, and which published files there are.

use serde::{Deserialize, Serialize};

use crate::image::resize::Resize;
use crate::net::inception::Inception;

/// What one has to get, and where, for a message.
pub const FILES: &str = "pt_inception-2015-12-05-6726825d.pth (releases of mseitzer/pytorch-fid), weights-inception-2015-12-05-6726825d.pth (releases of toshas/torch-fidelity) or inception-2015-12-05.pt (NVIDIA's, of stylegan2-ada-pytorch)";

/// SHA-256 of the published files, and what they are called; the first is the same file under two names.
const PUBLISHED: [(&str, &str); 2] = [
    (
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "Inception-2015 of pytorch-fid and torch-fidelity",
    ),
    ("f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4", "Inception-2015 of NVIDIA"),
];

/// Which program's way a picture takes to the network: its resize and its scaling. Numbers of one dialect do not compare with
/// those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InceptionDialect {
    /// The graph of TensorFlow: guided-diffusion's evaluator, torch-fidelity, the metrics of NVIDIA's StyleGAN2 and 3.
    Tensorflow,
    /// pytorch-fid.
    PytorchFid,
    /// clean-fid, mode `clean`.
    Clean,
}

impl InceptionDialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tensorflow, Self::PytorchFid, Self::Clean];

    /// Its name on the command line and in files.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tensorflow => "tensorflow",
            Self::PytorchFid => "pytorch-fid",
            Self::Clean => "clean",
        }
    }

    /// The dialect of such a name.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.key() == key)
    }

    /// How pictures come to 299×299.
    #[must_use]
    pub const fn resize(self) -> Resize {
        match self {
            Self::Tensorflow => Resize::Tensorflow,
            Self::PytorchFid => Resize::Torch,
            Self::Clean => Resize::Pillow,
        }
    }

    /// Factor and summand that make the network's input of `[0, 1]`.
    #[must_use]
    pub const fn scaling(self) -> [f32; 2] {
        match self {
            // (255 x - 128) / 128
            Self::Tensorflow | Self::Clean => [255.0 / 128.0, -1.0],
            Self::PytorchFid => [2.0, -1.0],
        }
    }

    /// The resize, for a table.
    #[must_use]
    pub const fn resize_in_words(self) -> &'static str {
        match self {
            Self::Tensorflow => "bilinear to 299×299 as TensorFlow 1",
            Self::PytorchFid => "bilinear to 299×299 as PyTorch",
            Self::Clean => "bicubic to 299×299 as Pillow, smoothed where it shrinks",
        }
    }

    /// The scaling of levels from 0 to 255, for a table.
    #[must_use]
    pub const fn scaling_in_words(self) -> &'static str {
        match self {
            Self::Tensorflow | Self::Clean => "(level - 128) / 128",
            Self::PytorchFid => "2 level / 255 - 1",
        }
    }
}

/// What a manifest says of a file of Inception-2015.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractorManifest {
    /// The way that a picture takes unless another is asked for.
    pub dialect: InceptionDialect,
    /// Whether the file has factors of its batch norms, as pytorch-fid's, where they are all 1; NVIDIA's has none.
    #[serde(default = "yes")]
    pub scaled: bool,
}

const fn yes() -> bool {
    true
}

impl ExtractorManifest {
    /// Names and shapes of the network's tensors, in the order of construction.
    #[must_use]
    pub fn tensors(self) -> Vec<(String, Vec<usize>)> {
        Inception::tensors(self.scaled)
    }
}

/// What a published file is called, by its SHA-256; `None` for any other, whose numbers compare with nobody's.
#[must_use]
pub fn published(sha256: &str) -> Option<&'static str> {
    PUBLISHED.iter().find(|(known, _)| *known == sha256).map(|(_, name)| *name)
}

/// Whether a name or a path without a file means the network, so that whoever gives it is told what to get.
pub(super) fn is_meant(reference: &str) -> bool {
    let name = std::path::Path::new(reference).file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.contains("inception")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_become_what_each_program_makes_of_them() {
        for (dialect, of_level) in [
            (InceptionDialect::Tensorflow, (|level| (level - 128.0) / 128.0) as fn(f32) -> f32),
            (InceptionDialect::Clean, |level| (level - 128.0) / 128.0),
            (InceptionDialect::PytorchFid, |level| 2.0 * (level / 255.0) - 1.0),
        ] {
            let [factor, summand] = dialect.scaling();
            for level in [0.0, 1.0, 127.0, 128.0, 255.0] {
                let made = level / 255.0 * factor + summand;
                assert!((made - of_level(level)).abs() < 1e-6, "{dialect:?}: {level} becomes {made}");
            }
        }
    }

    #[test]
    fn every_dialect_is_found_by_its_name() {
        for dialect in InceptionDialect::ALL {
            assert_eq!(InceptionDialect::of(dialect.key()), Some(dialect));
            assert_eq!(serde_json::to_value(dialect).unwrap(), dialect.key());
        }
        assert_eq!(InceptionDialect::of("legacy"), None);
    }

    #[test]
    fn published_files_are_known_by_their_content() {
        assert!(PUBLISHED.iter().all(|(hash, name)| hash.len() == 64 && published(hash) == Some(*name)));
        assert_eq!(published(&"0".repeat(64)), None);
        assert!(is_meant("inception") && is_meant("files/weights-Inception-2015.pth") && !is_meant("judge"));
    }
}
