//! The ways in which files hold tensors.

/// How a file packs its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Container {
    Safetensors,
    PytorchZip,
    PytorchLegacy,
    PytorchTar,
}

impl std::fmt::Display for Container {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::PytorchZip => "PyTorch zip",
            Self::PytorchLegacy => "PyTorch legacy",
            Self::PytorchTar => "PyTorch tar",
        })
    }
}
