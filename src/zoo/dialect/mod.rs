//! Dialects: one network under the names of several libraries, presented under one.
//!
//! The canonical names are those of OpenAI's U-Net and of torchvision's ResNet; 1x1 convolutions are 4-d. Which dialect
//! a file speaks, a few tensor names decide that every network of its kind has. Blocks are mapped in the order of their
//! numbers, so any depth and width fits. Values are rearranged when they are read.

mod diffusers;
mod inception;
mod nvlabs;
mod resnets;

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::{Source, TensorInfo, View};

/// Whose names a file uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Consistency models and guided diffusion.
    OpenAi,
    /// `UNet2DModel` of diffusers.
    Diffusers,
    /// `DhariwalUNet` of NVlabs' EDM.
    Nvlabs,
    /// ResNets of torchvision, and timm's.
    Torchvision,
    /// `ResNetForImageClassification` of transformers.
    Transformers,
    /// ResNets for CIFAR-10: `shortcut` and `linear`; a pre-activation one has `bn` before its last layer.
    Cifar,
    /// Wide-ResNets of RobustBench, TRADES and DAT: `block1.layer.0`, `convShortcut`.
    WideResnet,
    /// Wide-ResNets of DeepMind: `init_conv`, `layer.0.block.0`, `logits`.
    DeepMind,
    /// Inception-2015 of pytorch-fid and torch-fidelity: torchvision's names.
    Inception,
    /// Inception-2015 of NVIDIA: `layers.mixed_10`.
    NvidiaInception,
    /// None that is known.
    #[default]
    Unknown,
}

impl Dialect {
    /// Whether its networks are residual ones, which classify.
    pub(super) const fn is_resnet(self) -> bool {
        matches!(self, Self::Torchvision | Self::Transformers | Self::Cifar | Self::WideResnet | Self::DeepMind)
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::OpenAi => "OpenAI U-Net",
            Self::Diffusers => "diffusers UNet2DModel",
            Self::Nvlabs => "NVlabs EDM",
            Self::Torchvision => "torchvision ResNet",
            Self::Transformers => "transformers ResNet",
            Self::Cifar => "CIFAR ResNet",
            Self::WideResnet => "RobustBench Wide-ResNet",
            Self::DeepMind => "DeepMind Wide-ResNet",
            Self::Inception => "pytorch-fid Inception",
            Self::NvidiaInception => "NVIDIA Inception",
            Self::Unknown => "unknown",
        })
    }
}

/// A tensor that every network of a dialect has.
const ANCHORS: [(Dialect, &str); 9] = [
    (Dialect::OpenAi, "time_embed.0.weight"),
    (Dialect::Diffusers, "time_embedding.linear_1.weight"),
    (Dialect::Nvlabs, "map_layer0.weight"),
    (Dialect::Torchvision, "layer1.0.conv1.weight"),
    (Dialect::Transformers, "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"),
    (Dialect::WideResnet, "block1.layer.0.conv1.weight"),
    (Dialect::DeepMind, "layer.0.block.0.conv_0.weight"),
    (Dialect::Inception, "Conv2d_1a_3x3.conv.weight"),
    (Dialect::NvidiaInception, "layers.mixed_10.tower_2_conv.weight"),
];

/// Parts of words for averages over training, which are preferred to the last weights: `ema`, `model_ema`, `ema.shadow`.
const AVERAGES: [&str; 3] = ["ema", "shadow", "swa"];

/// Dictionaries and modules that wrap a network, whose names therefore stand before its own; any other word does when it
/// stands before one network only.
const WRAPPERS: [&str; 12] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "unet",
    "diffusion_model",
    "classifier",
    "_orig_mod",
    "online_model",
    "params",
];

/// Most networks of one file that are looked at.
const MAX_CANDIDATES: usize = 16;

/// Parts of names of tensors that no network here needs: copies and statistics of training, robustness' attacker and
/// normaliser, that of RobustBench's models, JM's marker, EDM's constant filters.
const NOT_NEEDED: [&str; 18] = [
    "attacker",
    "normalizer",
    "normalize",
    "mu",
    "sigma",
    "mean",
    "std",
    "dummy",
    "optimizer",
    "optim",
    "schedule",
    "scheduler",
    "lr_scheduler",
    "scaler",
    "amp",
    "num_batches_tracked",
    "resample_filter",
    "map_augment",
];

/// Tensors of input normalisations, mean and standard deviation: robustness', `[3, 1, 1]`, and RobustBench's,
/// `[1, 3, 1, 1]`, of a wrapper or of the network itself.
const NORMALISERS: [[&str; 2]; 4] = [
    ["normalizer.new_mean", "normalizer.new_std"],
    ["normalize.mean", "normalize.std"],
    ["mu", "sigma"],
    ["mean", "std"],
];

/// Weights of 1x1 convolutions, which some libraries store 1-d or as linear layers.
const POINTWISE: [&str; 3] = [".qkv.weight", ".proj_out.weight", ".skip_connection.weight"];

/// What a file speaks, and its tensors under canonical names.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) view: View,
    pub(super) dialect: Dialect,
    /// What stands before every name of the network, with its last dot.
    pub(super) prefix: String,
    /// Stored tensors that are known and not needed.
    pub(super) set_aside: Vec<String>,
    /// How many, by the word or the prefix that tells it.
    pub(super) set_aside_by: BTreeMap<String, usize>,
    /// Stored names of the mean and the standard deviation that the file brings.
    pub(super) normaliser: Option<[String; 2]>,
    /// Stored name of a mean that has no possible shape or type, which is not used.
    pub(super) odd_normaliser: Option<String>,
    /// Height and width of the pictures, where names tell it.
    pub(super) resolution: Option<usize>,
    /// What stands before each of several networks, of which none can be preferred; then none is read.
    pub(super) ambiguous: Vec<String>,
    /// Whether averages have no statistics of batch norms, so that those of the last weights are used.
    pub(super) borrows: bool,
}

/// A part of a network: what it is called in the file, what it is called here, and its own parts.
#[derive(Debug)]
struct Module {
    from: String,
    to: String,
    rules: &'static [Rule],
}

impl Module {
    fn new(from: impl Into<String>, to: impl Into<String>, rules: &'static [Rule]) -> Self {
        Self { from: from.into(), to: to.into(), rules }
    }
}

/// How a part of a module becomes a canonical part. A rule whose tensors are not in the file is passed over.
#[derive(Debug)]
enum Rule {
    /// Only the name differs.
    Same(&'static str, &'static str),
    /// [`Source::Stacked`].
    Stacked([&'static str; 3], &'static str),
    /// [`Source::Interleaved`].
    Interleaved(&'static str, &'static str),
    /// [`Source::Transposed`].
    Transposed(&'static str, &'static str),
}

/// The stored names of one network.
struct Names<'a> {
    stored: &'a BTreeMap<String, TensorInfo>,
    prefix: &'a str,
}

impl<'a> Names<'a> {
    /// Without the prefix, in order.
    fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.stored.keys().filter_map(|name| name.strip_prefix(self.prefix))
    }

    /// Whether the network has a module of this name.
    fn has(&self, module: &str) -> bool {
        let start = format!("{}{module}.", self.prefix);
        self.stored.range(start.clone()..).next().is_some_and(|(name, _)| name.starts_with(&start))
    }
}

/// Finds the network in a file, the one after `wanted` if that is given, and presents it under canonical names.
pub(super) fn read<'a>(stored: &'a BTreeMap<String, TensorInfo>, wanted: Option<&'a str>) -> Reading {
    let (candidates, ambiguous) = candidates(stored, wanted);
    let unknown = (Dialect::Unknown, wanted.unwrap_or_default());
    let (dialect, prefix) = candidates.first().copied().unwrap_or(unknown);
    let names = Names { stored, prefix };
    let (normaliser, odd_normaliser) = normaliser(stored);
    let mut reading = Reading {
        view: View::default(),
        dialect,
        prefix: prefix.to_owned(),
        set_aside: Vec::new(),
        set_aside_by: BTreeMap::new(),
        normaliser,
        odd_normaliser,
        resolution: None,
        ambiguous,
        borrows: false,
    };
    let mut used = BTreeSet::new();
    match dialect {
        Dialect::Diffusers => reading.map_modules(&names, diffusers::modules(&names), &mut used),
        Dialect::Nvlabs => {
            let (modules, resolution) = nvlabs::modules(&names);
            reading.resolution = resolution;
            reading.map_modules(&names, modules, &mut used);
        }
        // Its means would be put aside as those of a normalisation.
        Dialect::NvidiaInception => reading.rename(&names, inception::of_nvidia, &mut used),
        _ => {}
    }
    if dialect == Dialect::Torchvision && (names.has("linear") || names.iter().any(|name| name.contains(".shortcut.")))
    {
        reading.dialect = Dialect::Cifar;
    }
    let copies: Vec<(Dialect, &str)> = candidates.iter().skip(1).filter(|(_, p)| !p.is_empty()).copied().collect();
    for (name, info) in stored.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        let mut inner = name.strip_prefix(prefix);
        let copy = copies.iter().find(|(_, copy)| inner.is_none() && name.starts_with(copy));
        // Averages over parameters alone lack them.
        let lent = copy.filter(|(of, _)| *of == dialect && is_averaged(prefix)).and_then(|(_, copy)| {
            let rest = name
                .strip_prefix(copy)
                .filter(|rest| rest.ends_with(".running_mean") || rest.ends_with(".running_var"));
            rest.filter(|rest| !stored.contains_key(&format!("{prefix}{rest}")))
        });
        reading.borrows |= lent.is_some();
        inner = inner.or(lent);
        let copy = copy.filter(|_| lent.is_none()).map(|(_, copy)| format!("a copy after {copy:?}"));
        let word = || name.split('.').find(|part| NOT_NEEDED.contains(part)).map(str::to_owned);
        let counter = || is_counter(name, info).then(|| "counters and states of training".to_owned());
        if let Some(why) = copy.or_else(word).or_else(counter) {
            reading.put_aside(name, why);
            continue;
        }
        let canonical = match (inner, reading.dialect) {
            (Some(inner), Dialect::Transformers) => resnets::of_transformers(inner),
            (Some(inner), Dialect::Cifar) => resnets::of_cifar(inner),
            (Some(inner), Dialect::WideResnet) => resnets::of_robustbench(inner),
            (Some(inner), Dialect::DeepMind) => resnets::of_deepmind(inner),
            (Some(inner), _) => inner.to_owned(),
            // No tensor of a network has such a name.
            (None, _) => format!("{name} (not after {prefix:?})"),
        };
        if reading.view.has(&canonical) {
            reading.put_aside(name, format!("another {canonical:?}"));
        } else {
            reading.put(stored, canonical, Source::Plain(name.clone()));
        }
    }
    reading
}

impl Reading {
    fn put_aside(&mut self, name: &str, why: String) {
        self.set_aside.push(name.to_owned());
        *self.set_aside_by.entry(why).or_insert(0) += 1;
    }

    /// Applies the rules of every module.
    fn map_modules(&mut self, names: &Names<'_>, modules: Vec<Module>, used: &mut BTreeSet<String>) {
        for module in modules {
            for rule in module.rules {
                for leaf in ["weight", "bias"] {
                    let from = |part: &str| format!("{}{}", names.prefix, join(&[&module.from, part, leaf]));
                    let (source, to) = match rule {
                        Rule::Same(part, to) => (Source::Plain(from(part)), to),
                        Rule::Stacked(parts, to) => {
                            (Source::Stacked(parts.iter().map(|part| from(part)).collect()), to)
                        }
                        Rule::Interleaved(part, to) => (Source::Interleaved(from(part)), to),
                        Rule::Transposed(part, to) => (Source::Transposed(from(part)), to),
                    };
                    let stored = source.stored().to_vec();
                    if self.put(names.stored, join(&[&module.to, to, leaf]), source) {
                        used.extend(stored);
                    }
                }
            }
        }
    }

    /// Presents every tensor that has another name under that.
    fn rename(&mut self, names: &Names<'_>, renamed: fn(&str) -> Option<String>, used: &mut BTreeSet<String>) {
        for (name, to) in names.iter().filter_map(|inner| Some((inner, renamed(inner)?))) {
            let name = format!("{}{name}", names.prefix);
            if self.put(names.stored, to, Source::Plain(name.clone())) {
                used.insert(name);
            }
        }
    }

    fn put(&mut self, stored: &BTreeMap<String, TensorInfo>, name: String, source: Source) -> bool {
        let pointwise = POINTWISE.iter().any(|end| name.ends_with(end));
        self.view.put(stored, name, source, pointwise)
    }
}

/// Networks in the file, the preferred one first: averages before last weights, then the shortest prefix. Or the prefixes of
/// several networks, none of which can be preferred.
fn candidates<'a>(
    stored: &'a BTreeMap<String, TensorInfo>,
    wanted: Option<&str>,
) -> (Vec<(Dialect, &'a str)>, Vec<String>) {
    let mut found: Vec<(Dialect, &str)> = Vec::new();
    for name in stored.keys() {
        let prefixes = ANCHORS.iter().filter_map(|(dialect, anchor)| Some((*dialect, name.strip_suffix(anchor)?)));
        found.extend(prefixes.filter(|(_, prefix)| prefix.is_empty() || prefix.ends_with('.')));
    }
    found.retain(|(_, prefix)| !words(prefix).any(|word| NOT_NEEDED.contains(&word)));
    found.sort_by_key(|(_, prefix)| (Some(*prefix) != wanted, !is_averaged(prefix), prefix.len()));
    if wanted.is_some() {
        let is_there = found.first().is_some_and(|(_, prefix)| Some(*prefix) == wanted);
        return (if is_there { found } else { Vec::new() }, Vec::new());
    }
    let (mut known, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, prefix)| wraps(prefix));
    if !known.is_empty() {
        known.truncate(MAX_CANDIDATES);
        return (known, Vec::new());
    }
    let own = |prefix: &'a str| words(prefix).filter(|word| !is_wrapper(word)).collect::<Vec<_>>();
    if other.windows(2).all(|two| own(two[0].1) == own(two[1].1)) {
        return (other, Vec::new());
    }
    (Vec::new(), other.iter().take(MAX_CANDIDATES).map(|(_, prefix)| (*prefix).to_owned()).collect())
}

/// The words of what stands before a network.
fn words(prefix: &str) -> impl Iterator<Item = &str> {
    prefix.split('.').filter(|word| !word.is_empty())
}

/// Whether nothing but words of dictionaries and modules stands before a network.
fn wraps(prefix: &str) -> bool {
    // One place in a sequence, as that of a network behind its normalisation.
    let place = |word: &str| word.len() <= 2 && word.parse::<u8>().is_ok();
    words(prefix).all(|word| is_wrapper(word) || place(word)) && words(prefix).filter(|word| place(word)).count() <= 1
}

fn is_wrapper(word: &str) -> bool {
    WRAPPERS.contains(&word) || is_average(word)
}

fn is_average(word: &str) -> bool {
    word.split('_').any(|part| AVERAGES.contains(&part))
}

fn is_averaged(prefix: &str) -> bool {
    words(prefix).any(is_average)
}

/// Whether a tensor is no parameter of a network, but was saved beside one: a number of steps, the state of a generator of
/// random numbers.
fn is_counter(name: &str, info: &TensorInfo) -> bool {
    let leaf = name.rsplit('.').next().unwrap_or_default();
    let alone = info.shape.is_empty() || !name.contains('.') && info.elements() <= 1;
    !["weight", "bias", "running_mean", "running_var"].contains(&leaf) && (!info.element.is_float() || alone)
}

/// Names of the mean and the standard deviation that the file brings; or that of a mean that cannot be one.
fn normaliser(stored: &BTreeMap<String, TensorInfo>) -> (Option<[String; 2]>, Option<String>) {
    let mut odd = None;
    for [mean, std] in NORMALISERS {
        for (name, info) in stored {
            let Some(before) = name.strip_suffix(mean) else { continue };
            let whole = before.is_empty() || before.ends_with('.');
            if !whole || before.split('.').any(|part| part == "attacker") {
                continue;
            }
            let std_name = format!("{before}{std}");
            match (channels(info), stored.get(&std_name)) {
                (Some(count), Some(other)) if channels(other) == Some(count) => {
                    return (Some([name.clone(), std_name]), None);
                }
                _ => odd = odd.or_else(|| Some(name.clone())),
            }
        }
    }
    (None, odd)
}

/// How many channels a mean or a standard deviation is for: `[c]`, `[c, 1, 1]` or `[1, c, 1, 1]`, at most 4.
fn channels(info: &TensorInfo) -> Option<usize> {
    let count = match info.shape.as_slice() {
        [count] | [count, 1, 1] | [1, count, 1, 1] => *count,
        _ => return None,
    };
    (info.element.is_float() && (1..=4).contains(&count)).then_some(count)
}

/// Joins the parts that are not empty by dots.
fn join(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".")
}
