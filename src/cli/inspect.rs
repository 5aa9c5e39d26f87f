//! `lapidary inspect`: what a checkpoint is, what it lacks, and what nothing needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::checkpoint::{Checkpoint, CheckpointError, Weights, unwatched};
use crate::net::inception::{FEATURES, OUTPUTS};
use crate::session::host::Folders;
use crate::units::counted;
use crate::worker::Hashing;
use crate::zoo::{
    self, Activation, AttentionOrder, BUNDLED, BlockKind, ClassifierManifest, Described, DiffusionManifest,
    ExtractorManifest, InceptionDialect, Manifest, ManifestKind, NoiseSchedule, Opened, Origin, Padding,
    PreconditioningName, ResnetManifest, Shortcut, UnetManifest, describe, expected, find, manifest_beside, resolve,
};

/// Names that are listed before the rest is only counted.
const LISTED: usize = 6;
/// Width of the column of labels.
const LABEL: usize = 16;

/// What the file is, whatever it holds.
#[derive(Debug, Serialize)]
struct FileFacts {
    path: PathBuf,
    format: String,
    bytes: u64,
    sha256: String,
    naming: String,
    /// What stands before every name of the network.
    prefix: String,
    tensors: usize,
    /// Tensors by element type.
    types: BTreeMap<String, usize>,
    not_needed: Vec<String>,
    /// How many of them, by what tells it.
    #[serde(skip)]
    not_needed_by: BTreeMap<String, usize>,
}

/// What the network in it is.
#[derive(Debug, Serialize)]
struct NetworkFacts {
    architecture: String,
    preset: Option<&'static str>,
    input: String,
    /// Without the statistics of batch norms.
    parameters: usize,
    tensors: usize,
    missing: Vec<String>,
    wrong_shape: Vec<WrongShape>,
    /// Tensors of the architecture that hold no floating-point numbers, and what they hold.
    wrong_type: Vec<String>,
    unused: Vec<String>,
    notes: Vec<String>,
    /// Where the manifest comes from.
    described_by: String,
    #[serde(skip)]
    recognised: bool,
    manifest: Manifest,
}

#[derive(Debug, Serialize)]
struct WrongShape {
    name: String,
    expected: Vec<usize>,
    found: Vec<usize>,
}

/// Describes the checkpoint at `path` (a file, a folder of diffusers, a manifest, or the name of a bundled model) on
/// `out`: as aligned lines, or as JSON.
///
/// What is known of the file is written even when the network in it is refused, and at last whether it would open.
///
/// # Errors
/// When the file cannot be opened, the network in it is refused or does not fit, or `out` cannot be written.
pub fn run(path: &Path, json: bool, folders: &Folders, out: &mut dyn Write) -> anyhow::Result<()> {
    let read = || -> Result<_, CheckpointError> {
        let (path, described) = subject(path, folders)?;
        let prefix = described.as_ref().and_then(|described| described.manifest.prefix.as_deref());
        let opened = if described.is_some() { zoo::open_as(&path, prefix)? } else { zoo::open(&path)? };
        // The values are read while the hash is found.
        let hashing = Hashing::begin(&opened.checkpoint)?;
        let described = described.map_or_else(|| describe(&opened), Ok);
        let network = described.map(|described| NetworkFacts::of(&opened.checkpoint, described));
        let unreadable = network.as_ref().ok().and_then(|network| network.unreadable(&opened.checkpoint));
        let file = FileFacts::of(&opened, hashing.finish(&mut unwatched)?);
        Ok((path, opened, file, network, unreadable))
    };
    let (path, opened, file, network, unreadable) = match read() {
        Ok(found) => found,
        Err(error) => {
            let error = anyhow::Error::from(error);
            if json {
                write_json(None, None, Some(&error), out)?;
            }
            return Err(error);
        }
    };
    let (network, refused) = match network {
        Ok(mut network) => {
            let other = network.confirm(&opened.checkpoint, &file.sha256);
            (Some(network), other.or(unreadable).map(anyhow::Error::from))
        }
        Err(error) => (None, Some(anyhow::Error::from(error))),
    };
    if json {
        write_json(Some(&file), network.as_ref(), refused.as_ref(), out)?;
    } else {
        file.write(out)?;
        if let Some(network) = &network {
            network.write(out)?;
        }
        let reason = refused.as_ref().map(ToString::to_string);
        // The path, on the second line, stands above already.
        let reason = reason.as_deref().and_then(|text| text.lines().next());
        line(out, "opens", &reason.map_or_else(|| "yes".to_owned(), |reason| format!("no: {reason}")))?;
        if let Some(network) = &network {
            network.write_manifest(&path, out)?;
        }
    }
    refused.map_or(Ok(()), Err)
}

/// What is known, and why it does not open: a program that reads this reads no lines of errors.
fn write_json(
    file: Option<&FileFacts>,
    network: Option<&NetworkFacts>,
    refused: Option<&anyhow::Error>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let chain: Vec<String> = refused.into_iter().flat_map(|error| error.chain().map(ToString::to_string)).collect();
    let opens = refused.is_none();
    writeln!(out, "{:#}", json!({ "file": file, "network": network, "opens": opens, "refused": chain }))
}

/// The file to open, and what a manifest that was named says.
fn subject(path: &Path, folders: &Folders) -> Result<(PathBuf, Option<Described>), CheckpointError> {
    let reference = path.to_string_lossy();
    if BUNDLED.iter().any(|bundled| bundled.name == reference) {
        return Ok((resolve(&reference, &folders.cache)?.weights, None));
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
        && let (manifest, Some(weights)) = find(&reference)?
    {
        return Ok((weights, Some(Described { manifest, origin: Origin::Manifest(path.to_owned()) })));
    }
    Ok((path.to_owned(), None))
}

impl FileFacts {
    fn of(opened: &Opened, sha256: String) -> Self {
        let checkpoint = &opened.checkpoint;
        let mut types = BTreeMap::new();
        for info in checkpoint.tensors().values() {
            *types.entry(info.element.to_string()).or_insert(0) += 1;
        }
        let folder = match checkpoint.files() {
            [file] if file == checkpoint.path() => String::new(),
            [_] => "folder, ".to_owned(),
            files => format!("{} files, ", files.len()),
        };
        Self {
            path: checkpoint.path().to_owned(),
            format: format!("{folder}{}", checkpoint.container()),
            bytes: checkpoint.bytes(),
            sha256,
            naming: opened.dialect().to_string(),
            prefix: opened.prefix().to_owned(),
            tensors: checkpoint.tensors().len(),
            types,
            not_needed: opened.set_aside().to_vec(),
            not_needed_by: opened.set_aside_by().clone(),
        }
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        line(out, "file", &self.path.display().to_string())?;
        line(out, "format", &format!("{}, {}", self.format, crate::units::bytes(self.bytes)))?;
        line(out, "SHA-256", &self.sha256)?;
        let prefix = if self.prefix.is_empty() { String::new() } else { format!(", each after {:?}", self.prefix) };
        line(out, "naming", &format!("{}{prefix}", self.naming))?;
        let types: Vec<String> = self.types.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
        line(out, "tensors", &format!("{} ({})", grouped(self.tensors), types.join(", ")))?;
        if !self.not_needed.is_empty() {
            let groups = self.not_needed_by.iter().map(|(why, count)| format!("{why} {}", grouped(*count)));
            let groups: Vec<String> = groups.collect();
            line(out, "not needed", &format!("{} ({})", grouped(self.not_needed.len()), groups.join(", ")))?;
        }
        Ok(())
    }
}

impl NetworkFacts {
    fn of(checkpoint: &Checkpoint, described: Described) -> Self {
        let manifest = described.manifest;
        let (preset, notes, described_by, recognised) = match described.origin {
            Origin::Manifest(path) => (None, Vec::new(), path.display().to_string(), false),
            Origin::Bundled => (None, Vec::new(), "the bundled model of the same content".to_owned(), false),
            Origin::Recognised { preset, notes } => (preset, notes, "none, recognised by its shapes".to_owned(), true),
        };
        let (architecture, input) = match &manifest.kind {
            ManifestKind::Generator(spec) => (of_unet(&spec.unet, manifest.size()), of_diffusion(&spec.diffusion)),
            ManifestKind::Classifier(spec) => (of_resnet(&spec.resnet), of_normalisation(spec)),
            ManifestKind::Extractor(spec) => (of_inception(*spec), of_dialect(spec.dialect)),
        };
        let mut facts = Self {
            architecture,
            preset,
            input,
            parameters: 0,
            tensors: 0,
            missing: Vec::new(),
            wrong_shape: Vec::new(),
            wrong_type: Vec::new(),
            unused: Vec::new(),
            notes,
            described_by,
            recognised,
            manifest,
        };
        facts.compare(checkpoint);
        facts
    }

    /// Holds what the architecture takes against what the file has.
    fn compare(&mut self, checkpoint: &Checkpoint) {
        let mut wanted = BTreeSet::new();
        for (name, shape) in expected(&self.manifest) {
            match checkpoint.tensors().get(&name) {
                None => self.missing.push(name.clone()),
                Some(info) if info.shape != shape => {
                    let found = info.shape.clone();
                    self.wrong_shape.push(WrongShape { name: name.clone(), expected: shape, found });
                }
                Some(info) if !info.element.is_float() => self.wrong_type.push(format!("{name} is {}", info.element)),
                Some(info) => {
                    self.tensors += 1;
                    let statistic = name.ends_with(".running_mean") || name.ends_with(".running_var");
                    self.parameters += if statistic { 0 } else { info.elements() };
                }
            }
            wanted.insert(name);
        }
        self.unused = checkpoint.tensors().keys().filter(|name| !wanted.contains(*name)).cloned().collect();
    }

    /// Why its values could not be loaded, if so.
    fn unreadable(&self, checkpoint: &Checkpoint) -> Option<CheckpointError> {
        let mut weights = Weights::new(checkpoint);
        let mut take = |(name, shape): (String, Vec<usize>)| weights.take(&name, &shape).map(drop);
        expected(&self.manifest).into_iter().try_for_each(&mut take).err()
    }

    /// Notes the hash of a file that was recognised; refuses one that its manifest does not know.
    fn confirm(&mut self, checkpoint: &Checkpoint, sha256: &str) -> Option<CheckpointError> {
        if self.recognised {
            self.manifest.sha256 = Some(sha256.to_owned());
        }
        let expected = self.manifest.sha256.clone().filter(|expected| expected != sha256)?;
        Some(CheckpointError::Hash { path: checkpoint.path().to_owned(), expected, found: sha256.to_owned() })
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let manifest = &self.manifest;
        line(out, "role", manifest.role())?;
        line(out, "title", &manifest.title)?;
        line(out, "architecture", &self.architecture)?;
        line(out, "preset", self.preset.unwrap_or("none"))?;
        let [h, w] = manifest.size();
        line(out, "pictures", &format!("{w}×{h}, {}", counted(manifest.channels, "channel")))?;
        let classes = match manifest.classes.as_slice() {
            [] => "none, unconditional".to_owned(),
            [only] => format!("1: {only}"),
            [first, .., last] => format!("{}: {first} ... {last}", grouped(manifest.classes.len())),
        };
        line(out, "classes", &classes)?;
        let about = if manifest.role() == "generator" { "trained as" } else { "input" };
        line(out, about, &self.input)?;
        line(out, "parameters", &format!("{} in {} tensors", grouped(self.parameters), grouped(self.tensors)))?;
        line(out, "missing", &some_of(&self.missing))?;
        let wrong: Vec<String> = self
            .wrong_shape
            .iter()
            .map(|w| format!("{} is {:?} instead of {:?}", w.name, w.found, w.expected))
            .collect();
        line(out, "wrong shape", &some_of(&wrong))?;
        if !self.wrong_type.is_empty() {
            line(out, "wrong type", &some_of(&self.wrong_type))?;
        }
        line(out, "unused", &some_of(&self.unused))?;
        line(out, "manifest", &self.described_by)?;
        for note in &self.notes {
            line(out, "note", note)?;
        }
        Ok(())
    }

    /// What was recognised, as a manifest.
    fn write_manifest(&self, path: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.recognised {
            writeln!(out, "\n# To change what was recognised, save this as {}:", manifest_beside(path).display())?;
            write!(out, "{}", toml::to_string(&self.manifest)?)?;
        }
        Ok(())
    }
}

fn line(out: &mut dyn Write, label: &str, text: &str) -> std::io::Result<()> {
    writeln!(out, "{label:<LABEL$}{text}")
}

/// The first names and how many more there are.
fn some_of(names: &[String]) -> String {
    let listed = names[..names.len().min(LISTED)].join(", ");
    match names.len() {
        0 => "none".to_owned(),
        count if count > LISTED => format!("{}: {listed} and {} more", grouped(count), grouped(count - LISTED)),
        count => format!("{count}: {listed}"),
    }
}

/// With a comma between groups of three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn list(numbers: &[usize], between: &str) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(between)
}

fn of_unet(net: &UnetManifest, [height, width]: [usize; 2]) -> String {
    let sides = net.attention_downsample.iter().map(|factor| {
        let [h, w] = [height, width].map(|side| side / net.patch_size.max(1) / factor.max(&1));
        if h == w { h.to_string() } else { format!("{w}×{h}") }
    });
    let sides = sides.collect::<Vec<_>>().join(", ");
    let attention = if sides.is_empty() { "in the middle only".to_owned() } else { format!("at {sides}") };
    let heads = match net.num_head_channels {
        0 => format!("{} heads", net.num_heads),
        channels => format!("{channels} channels per head"),
    };
    let mut text = format!(
        "OpenAI U-Net, {} channels × ({}), {} blocks per level, attention {attention}, {heads}",
        net.model_channels,
        list(&net.channel_mult, ", "),
        net.num_res_blocks
    );
    for (said, what) in [
        (net.attention_order == AttentionOrder::Legacy, "q, k and v per head"),
        (net.use_scale_shift_norm, "scale-shift norm"),
        (!net.use_scale_shift_norm, "additive conditioning"),
        (!net.resblock_updown, "resampling by convolutions"),
        (net.learn_sigma, "with a variance"),
        (net.patch_size > 1, "on patches"),
    ] {
        if said {
            text.push_str(", ");
            text.push_str(what);
        }
    }
    text
}

fn of_resnet(net: &ResnetManifest) -> String {
    let block = match net.block {
        BlockKind::Basic => "basic blocks".to_owned(),
        BlockKind::Bottleneck => format!("bottlenecks of width {}", net.width_per_group),
    };
    let shortcut = match net.shortcut {
        Shortcut::Conv => "strided",
        Shortcut::Pool => "pooled",
    };
    let pool = if net.stem_pool { " and a pool" } else { "" };
    let mut text = format!(
        "ResNet, {} {block}, {} planes, first convolution {}×{} of stride {}{pool}, {shortcut} shortcuts",
        list(&net.blocks, "-"),
        list(&net.widths, "-"),
        net.stem_kernel,
        net.stem_kernel,
        net.stem_stride
    );
    let Some(pre) = net.preactivation else { return text };
    text.insert_str(0, "pre-activation ");
    for (said, what) in [
        (true, format!("{} channels behind the first", pre.stem_width)),
        (pre.activation == Activation::Silu, "SiLU".to_owned()),
        (pre.padding == Padding::Behind, "padding behind".to_owned()),
        (!pre.final_norm, "no last norm".to_owned()),
        (!pre.activated_shortcut, "shortcuts past the first norm".to_owned()),
    ] {
        if said {
            text.push_str(", ");
            text.push_str(&what);
        }
    }
    text
}

fn of_diffusion(noise: &DiffusionManifest) -> String {
    let karras = format!(
        "σ from {} to {}, σ_data {}, ρ {}, time × {}",
        noise.sigma_min, noise.sigma_max, noise.sigma_data, noise.rho, noise.time_scale
    );
    match noise.preconditioning {
        PreconditioningName::Consistency => {
            format!("consistency model, {karras}, second of two steps at σ {}", noise.two_step_sigma)
        }
        PreconditioningName::Edm => format!("EDM, {karras}"),
        PreconditioningName::Discrete => {
            let schedule = match noise.noise_schedule {
                NoiseSchedule::Linear => "linear",
                NoiseSchedule::Cosine => "cosine",
            };
            format!("guided diffusion, {schedule} schedule of {} steps", noise.diffusion_steps)
        }
    }
}

fn of_normalisation(spec: &ClassifierManifest) -> String {
    let values = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
    format!("mean {}, std {}", values(&spec.mean), values(&spec.std))
}

fn of_inception(spec: ExtractorManifest) -> String {
    let factors = if spec.scaled { "with" } else { "without" };
    format!("Inception of 2015, {FEATURES} features and {OUTPUTS} outputs, batch norms {factors} factors")
}

fn of_dialect(dialect: InceptionDialect) -> String {
    format!("{}: {}, {}", dialect.key(), dialect.resize_in_words(), dialect.scaling_in_words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_are_readable() {
        let grouped_all: Vec<String> = [0, 999, 1000, 295_899_267].map(grouped).into();
        assert_eq!(grouped_all, ["0", "999", "1,000", "295,899,267"]);
        let names: Vec<String> = (0..8).map(|i| format!("t{i}")).collect();
        assert_eq!(some_of(&[]), "none");
        assert_eq!(some_of(&names[..2]), "2: t0, t1");
        assert_eq!(some_of(&names), "8: t0, t1, t2, t3, t4, t5 and 2 more");
    }
}
