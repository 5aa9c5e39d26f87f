//! What can be wrong with a checkpoint, each in one sentence: what was found, what was expected, what to do.

use std::path::{Path, PathBuf};

use super::{Checkpoint, Content};
use crate::file::Place;

/// Why a checkpoint or its manifest was refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CheckpointError {
    #[error(transparent)]
    NotAFile(#[from] crate::file::NotAFile),
    #[error("no file is there: give the path of a .safetensors or .pt file, or one of the bundled models\n{}", path.display())]
    NotFound { path: PathBuf },
    #[error("this folder is none of diffusers or of a Hugging Face classifier (there is neither unet/config.json nor config.json, and no weights of their names): give the .safetensors or .pt file inside it\n{}", path.display())]
    Folder { path: PathBuf },
    #[error("this folder is an unpacked PyTorch file (it has a data.pkl): pack it again, in the folder above it, with `zip -0 -r {name}.pt {name}`\n{}", path.display())]
    Unpacked { path: PathBuf, name: String },
    #[error("the folder has a config.json but no weights ({looked_for}): download them too, or give the .safetensors or .pt file itself\n{}", path.display())]
    NoWeights { path: PathBuf, looked_for: String },
    #[error("the weights lie in several files, of which {missing} is not there: download it too, into the same folder\n{}", path.display())]
    Sharded { path: PathBuf, missing: String },
    #[error("the file is no valid JSON in {place}: correct it, or fetch it again\n{}", path.display())]
    Config { path: PathBuf, place: Place },
    #[error("the file is no UTF-8 text in {place}, so it was saved in another encoding, such as Latin-1: save it as UTF-8\n{}", path.display())]
    Encoding { path: PathBuf, place: Place },
    #[error("the configuration says {found}, but {expected}: choose a pipeline of OpenAI's U-Net, such as openai/diffusers-cd_imagenet64_l2, or a ResNet of transformers, timm or torchvision\n{}", path.display())]
    Configuration { path: PathBuf, found: String, expected: String },
    #[error("the file cannot be read: check its permissions and the disk\n{}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the file cannot be written: make room on the disk, or allow writing there\n{}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("this is {found}, but a checkpoint is a .safetensors or PyTorch file: {}\n{}", found.hint(), path.display())]
    NotACheckpoint { path: PathBuf, found: Content },
    #[error("the file ends after {found} bytes, but its header promises {expected}: the download was cut off, fetch it again\n{}", path.display())]
    Truncated { path: PathBuf, expected: u64, found: u64 },
    #[error("the header claims {found} bytes, but at most {limit} are accepted: the file is damaged or hostile, fetch it again from its source\n{}", path.display())]
    HeaderTooLarge { path: PathBuf, found: u64, limit: u64 },
    #[error("the file describes much besides its tensors ({found} bytes, but at most {limit} are read), such as the history of a training: save the weights alone with torch.save(model.state_dict(), file)\n{}", path.display())]
    Crowded { path: PathBuf, found: u64, limit: u64 },
    #[error("the safetensors header contradicts itself: the file is damaged, fetch it again\n{}", path.display())]
    Header { path: PathBuf, source: serde_json::Error },
    #[error("this PyTorch file holds something else than a plain dictionary of tensors, and nothing in it is executed: save it again with torch.save(model.state_dict(), file)\n{}", path.display())]
    Pytorch { path: PathBuf, source: Box<pytorch_reader::PytorchError> },
    #[error("this is a zip archive, but not PyTorch's (it has no data.pkl): give the .safetensors or .pt file, or save the weights with torch.save(model.state_dict(), file)\n{}", path.display())]
    ForeignZip { path: PathBuf },
    #[error("this PyTorch file carries Python code (torch_utils.persistence, as the training states of NVlabs' EDM do), and nothing in a file is executed here: take the network-snapshot-*.pkl of the same training, and convert it once with `python models/convert_edm.py FILE.pkl FILE.safetensors`\n{}", path.display())]
    TrainingState { path: PathBuf },
    #[error("this pickle carries Python code (torch_utils.persistence, as NVlabs' EDM writes it), and nothing in a file is executed here: convert it once with `python models/convert_edm.py FILE.pkl FILE.safetensors`\n{}", path.display())]
    PersistentPickle { path: PathBuf },
    #[error("the PyTorch file is damaged or was cut off: fetch it again\n{}", path.display())]
    Archive { path: PathBuf, source: Box<pytorch_reader::PytorchError> },
    #[error("the file lists {found} tensors, but at most {limit} are accepted: it is damaged or hostile\n{}", path.display())]
    TooMany { path: PathBuf, found: usize, limit: usize },
    #[error("the file holds no tensors: save the weights with torch.save(model.state_dict(), file)\n{}", path.display())]
    NoTensors { path: PathBuf },
    #[error("the file holds NumPy arrays, but no tensors: turn each into one with torch.from_numpy(array), and save them with torch.save(dictionary, file)\n{}", path.display())]
    NumpyArrays { path: PathBuf },
    #[error("{tensor:?} brings the tensors to {claimed} bytes, but no more than {found} can be in this file: it is damaged or hostile, fetch it again from its source\n{}", path.display())]
    Claim { path: PathBuf, tensor: String, claimed: u64, found: u64 },
    #[error("the values of {tensor:?} cannot be read: the file is damaged, fetch it again\n{}", path.display())]
    Damaged { path: PathBuf, tensor: String, source: std::io::Error },
    #[error("{tensor:?} does not hold floating-point numbers, but the network needs f16, bf16, f32 or f64: export the weights in one of these\n{}", path.display())]
    NotFloat { path: PathBuf, tensor: String },
    #[error("{count} of the {of} values of {tensor:?} cannot be ({what}): the weights are broken, so take an earlier checkpoint of their training, or fetch the file again\n{}", path.display())]
    Broken { path: PathBuf, tensor: String, count: usize, of: usize, what: &'static str },
    #[error("{tensor:?} is missing{}: the architecture does not fit this file, so compare them with `lapidary inspect` and correct the manifest, or write one\n{}", nearest_hint(nearest.as_deref()), path.display())]
    Missing { path: PathBuf, tensor: String, nearest: Option<String> },
    #[error("{tensor:?} has shape {found:?}, but the architecture needs {expected:?}: compare them with `lapidary inspect` and correct the manifest, or write one\n{}", path.display())]
    Shape { path: PathBuf, tensor: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("the file's SHA-256 is {found}, but its manifest says {expected}: fetch the file again, or correct the manifest if you changed the weights yourself\n{}", path.display())]
    Hash { path: PathBuf, expected: String, found: String },
    #[error("Inception-2015 is not part of this program, and nothing is ever downloaded: get one of {files}, and give its path to --extractor{}", looked_at(path.as_deref()))]
    NoInception { path: Option<PathBuf>, files: &'static str },
    #[error("there is no bundled model {name:?} and no such file: choose one of {known}, or give a path")]
    Unknown { name: String, known: String },
    #[error("{what}, so the file needs a manifest: write {} beside it (README, \"Bring your own checkpoint\", shows one)\n{}", manifest.display(), path.display())]
    NoManifest { path: PathBuf, manifest: PathBuf, what: String },
    #[error("this network is not whole: {tensor:?} is missing, although {beside:?} is there, so save all of it with torch.save(model.state_dict(), file), or fetch the file again\n{}", path.display())]
    Incomplete { path: PathBuf, tensor: String, beside: String },
    #[error("the file holds several networks, after {}: choose one by a line such as prefix = {:?} in a manifest, {}\n{}", quoted(prefixes), prefixes.first().map_or("", String::as_str), manifest.display(), path.display())]
    Ambiguous { path: PathBuf, manifest: PathBuf, prefixes: Vec<String> },
    #[error("{what}, but a generator must be OpenAI's U-Net (its own names, diffusers' or NVlabs'), a classifier a ResNet (torchvision's names, CIFAR's or RobustBench's) and an extractor Inception-2015: choose another file\n{}", path.display())]
    Foreign { path: PathBuf, what: String },
    #[error("loading was cancelled")]
    Cancelled,
    #[error("the manifest is not valid in {place}: {}\n{}", advice(source), path.display())]
    Manifest { path: PathBuf, place: Place, source: Box<toml::de::Error> },
    #[error("the manifest says {what}, but {expected}\n{}", path.display())]
    ManifestValue { path: PathBuf, what: String, expected: String },
    #[error("the bundled model cannot be unpacked, nor in the folder for temporary files: make room, allow writing there, or name another folder in the variable XDG_CACHE_HOME\n{}", path.display())]
    Unpack { path: PathBuf, source: std::io::Error },
    #[error(
        "{name:?} is {} {found}, but {} {expected} is needed here: choose another model",
        article(found),
        article(expected)
    )]
    Role { name: String, expected: &'static str, found: &'static str },
}

impl CheckpointError {
    pub(super) fn missing(checkpoint: &Checkpoint, tensor: &str) -> Self {
        let leaf = tensor.rsplit('.').next().unwrap_or(tensor);
        let nearest =
            checkpoint.tensors().keys().find(|name| name.ends_with(tensor) || tensor.ends_with(name.as_str()));
        let nearest = nearest.or_else(|| checkpoint.tensors().keys().find(|name| name.ends_with(leaf)));
        Self::Missing { path: checkpoint.path().to_owned(), tensor: tensor.to_owned(), nearest: nearest.cloned() }
    }
}

/// What to do about a manifest.
fn advice(fault: &toml::de::Error) -> &'static str {
    if fault.message().contains("duplicate key") {
        "this entry stands there for the second time, so leave one of the two out"
    } else {
        "correct it as the cause says"
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// Before the name of a role.
fn article(role: &str) -> &'static str {
    if role.starts_with('e') { "an" } else { "a" }
}

/// Where there is no file, on a line of its own.
fn looked_at(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("\n{}", path.display()))
}

fn nearest_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (the file has, for example, {name:?})"))
}
