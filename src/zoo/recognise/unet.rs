//! OpenAI's U-Net, by its shapes.
//!
//! Every level has `num_res_blocks` input blocks and one output block more; whatever changes the resolution upwards is
//! a further module in a level's last output block. So the positions of these modules give blocks and levels.

use std::collections::BTreeMap;

use super::{Facts, Hints, Recognised, Refusal, Shapes, class_names, dims};
use crate::zoo::check::MAX_LEVELS;
use crate::zoo::diffusers::{DiffusersConfig, Scheduler};
use crate::zoo::presets::{Family, NVLABS, Preset, family_of};
use crate::zoo::{
    AttentionOrder, DiffusionManifest, GeneratorManifest, ManifestKind, PreconditioningName, UnetManifest,
};

/// Channels per attention head of every published network but one.
const HEAD_CHANNELS: usize = 64;
/// Largest number of a block; a network has fewer by far.
const MAX_BLOCK: usize = 100_000;
/// Words for a consistency model.
const CONSISTENCY: [&str; 5] = ["cd", "ct", "cm", "ect", "ict"];

/// A module of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Res,
    Attention,
    /// A convolution that changes the resolution.
    Conv,
}

type Block = BTreeMap<usize, Kind>;

pub(super) fn recognise(tensors: &Shapes, hints: Hints) -> Result<Recognised, Refusal> {
    let mut notes = hints.notes.clone();
    let (mut unet, channels) = architecture(tensors, &mut notes)?;
    let classes = dims::<2>(tensors, "label_emb.weight").map_or(0, |[classes, _]| classes);
    let family = family_of(&unet, classes);
    let mut words = hints.words.clone();
    if let Some(Scheduler::Consistency { steps, .. }) = hints.config.as_ref().and_then(|c| c.scheduler.as_ref()) {
        // The grid of consistency distillation has 40 points; those of training have 201 for ImageNet, 151 for LSUN.
        match steps {
            40 => words.extend(["cd".to_owned()]),
            151 | 201 => words.extend(["ct".to_owned()]),
            _ => {}
        }
    }
    let preset = family.and_then(|family| family.member(&words));

    heads(&mut unet, family, hints.config.as_ref(), &mut notes);
    let resolution = hints
        .config
        .as_ref()
        .and_then(|config| config.resolution)
        .or(hints.resolution)
        .or_else(|| family.map(|family| family.resolution))
        .unwrap_or_else(|| assumed_resolution(&unet, &mut notes));
    let named = |start: &str| words.iter().any(|found| found.starts_with(start));
    let kind = if named("edm") {
        Some(PreconditioningName::Edm)
    } else if named("consistency") || CONSISTENCY.iter().any(|word| words.contains(*word)) {
        Some(PreconditioningName::Consistency)
    } else {
        None
    };
    let nvlabs = words.contains(NVLABS);
    let diffusion = diffusion(&unet, preset, hints.config.as_ref(), kind, nvlabs, &mut notes);
    let consistency = diffusion.preconditioning == PreconditioningName::Consistency;
    if consistency && preset.is_none() && resolution > 64 {
        let sigma = diffusion.two_step_sigma;
        notes.push(format!(
            "the second of two steps starts at the noise level for ImageNet 64×64, {sigma}: two_step_sigma of a manifest \
             says otherwise"
        ));
    }
    let classes = class_names(classes, words.contains("cifar"), &mut notes)?;
    let title = preset.map_or_else(
        || format!("U-Net, {} channels, {resolution}×{resolution}", unet.model_channels),
        |preset| preset.title.to_owned(),
    );
    let source = preset.map_or_else(
        || "recognised by its shapes".to_owned(),
        |preset| format!("recognised by its shapes as {} ({})", preset.name, preset.source),
    );
    let kind = ManifestKind::Generator(GeneratorManifest { unet, diffusion });
    let licence = preset.map_or("unknown", |preset| preset.licence);
    let manifest = hints.manifest(title, source, Facts { resolution, channels, classes, kind, licence });
    Ok(Recognised { manifest, preset: preset.map(|preset| preset.name), notes })
}

/// What the shapes say of the network, and its colour channels. Heads are left open.
fn architecture(tensors: &Shapes, notes: &mut Vec<String>) -> Result<(UnetManifest, usize), Refusal> {
    let unclear = |what: &str| Refusal::Unclear(format!("this U-Net {what}"));
    let [emb, model_channels] =
        dims::<2>(tensors, "time_embed.0.weight").ok_or_else(|| unclear("has an odd time embedding"))?;
    if model_channels == 0 || model_channels.checked_mul(4) != Some(emb) {
        return Err(Refusal::Foreign(format!(
            "this U-Net embeds its time in {emb} values, not in 4 times {model_channels}"
        )));
    }
    let [_, c_in, _, _] =
        dims::<4>(tensors, "input_blocks.0.0.weight").ok_or_else(|| unclear("lacks its first convolution"))?;
    let [c_out, _, _, _] = dims::<4>(tensors, "out.2.weight").ok_or_else(|| unclear("lacks its last convolution"))?;
    let (channels, patch_size) = picture(c_in, c_out, notes)?;

    let (input, output) = (blocks(tensors, "input_blocks."), blocks(tensors, "output_blocks."));
    // Both sides have as many blocks, the first convolution included.
    let count = output.keys().chain(input.keys()).max().map_or(0, |last| last + 1);
    let absent = |side: &str, blocks: &BTreeMap<usize, Block>, from: usize| {
        (from..count).find(|i| !blocks.contains_key(i)).map(|i| format!("{side}.{i}"))
    };
    if let Some(block) = absent("input_blocks", &input, 1).or_else(|| absent("output_blocks", &output, 0)) {
        return Err(Refusal::Foreign(format!("this U-Net lacks {block} of its {count} blocks on each side")));
    }
    let ends: Vec<usize> = output.iter().filter(|(_, block)| changes_resolution(block)).map(|(i, _)| *i).collect();
    let per_level = ends.first().map_or(output.len(), |end| end.saturating_add(1));
    let levels = output.len() / per_level.max(1);
    let regular =
        output.len() == levels * per_level && ends.iter().copied().eq((1..levels).map(|level| level * per_level - 1));
    if !regular || per_level < 2 || !(1..=MAX_LEVELS).contains(&levels) {
        return Err(unclear("has blocks in no regular order"));
    }

    let (mut channel_mult, mut attention_downsample) = (Vec::new(), Vec::new());
    for level in 0..levels {
        let first = (levels - 1 - level) * per_level;
        let width = dims::<4>(tensors, &format!("output_blocks.{first}.0.out_layers.3.weight"));
        let [width, _, _, _] = width.ok_or_else(|| unclear("has an output block without a residual block"))?;
        if width == 0 || !width.is_multiple_of(model_channels) {
            let adm = if width.checked_mul(2) == Some(model_channels) {
                " (half of it, as in guided diffusion's 512×512 network)"
            } else {
                ""
            };
            let what =
                format!("this U-Net has a level of {width} channels, which is no multiple of {model_channels}{adm}");
            return Err(Refusal::Foreign(what));
        }
        channel_mult.push(width / model_channels);
        let attends = |block: Option<&Block>| block.is_some_and(|block| block.get(&1) == Some(&Kind::Attention));
        // Block 0 of the input is the first convolution, and each level but the last ends with a resampling.
        let inputs = level * per_level + 1..(level + 1) * per_level;
        let outputs = first..first + per_level;
        let found = inputs.map(|i| attends(input.get(&i))).chain(outputs.map(|i| attends(output.get(&i))));
        let found: Vec<bool> = found.collect();
        if found.contains(&true) {
            if found.contains(&false) {
                return Err(unclear("has attention in some blocks of a level only"));
            }
            attention_downsample.push(1 << level);
        }
    }
    let middle = dims::<2>(tensors, "middle_block.0.emb_layers.1.weight");
    let [film, _] = middle.ok_or_else(|| Refusal::Foreign("this U-Net lacks middle_block.0".to_owned()))?;
    let last = channel_mult.last().map_or(0, |mult| mult * model_channels);
    if film != last && film != last.saturating_mul(2) {
        return Err(unclear("conditions its middle block in an unknown way"));
    }
    let mut downs = (1..levels).filter_map(|level| input.get(&(level * per_level))?.get(&0));
    let unet = UnetManifest {
        model_channels,
        num_res_blocks: per_level - 1,
        channel_mult,
        attention_downsample,
        num_head_channels: 0,
        num_heads: 0,
        use_scale_shift_norm: film != last,
        resblock_updown: downs.all(|kind| *kind != Kind::Conv),
        attention_order: AttentionOrder::New,
        learn_sigma: c_out != c_in,
        patch_size,
    };
    Ok((unet, channels))
}

/// Colour channels and patch size.
fn picture(c_in: usize, c_out: usize, notes: &mut Vec<String>) -> Result<(usize, usize), Refusal> {
    if c_out != c_in && c_out != c_in.saturating_mul(2) {
        let what =
            format!("this U-Net takes {c_in} channels and gives {c_out}, so it looks at something besides the picture");
        return Err(Refusal::Foreign(what));
    }
    if (1..=4).contains(&c_in) {
        return Ok((c_in, 1));
    }
    // Larger patches of colour pictures: 3 p² channels.
    match (2..=16_usize).find(|patch| 3 * patch.pow(2) == c_in) {
        Some(patch) => {
            notes.push(format!("its {c_in} input channels are read as colour pictures in patches of {patch}×{patch}"));
            Ok((3, patch))
        }
        None if c_in == 6 => Err(Refusal::Foreign(
            "this U-Net takes 6 channels, as guided diffusion's upsamplers do, which look at a small picture too"
                .to_owned(),
        )),
        None => Err(Refusal::Foreign(format!("this U-Net takes {c_in} channels, which are no picture's"))),
    }
}

/// The modules of every block; the first convolution is none.
fn blocks(tensors: &Shapes, side: &str) -> BTreeMap<usize, Block> {
    let mut blocks: BTreeMap<usize, Block> = BTreeMap::new();
    for name in tensors.keys().filter_map(|name| name.strip_prefix(side)) {
        let mut parts = name.split('.');
        let number = |part: Option<&str>| part?.parse::<usize>().ok().filter(|number| *number <= MAX_BLOCK);
        let (Some(block), Some(module)) = (number(parts.next()), number(parts.next())) else { continue };
        let kind = match parts.next() {
            Some("in_layers") => Kind::Res,
            Some("qkv") => Kind::Attention,
            Some("op" | "conv") => Kind::Conv,
            _ => continue,
        };
        blocks.entry(block).or_default().insert(module, kind);
    }
    blocks
}

/// Whether a block of the output ends its level.
fn changes_resolution(block: &Block) -> bool {
    block.iter().any(|(module, kind)| *module > 0 && *kind != Kind::Attention)
}

/// Decides what the shapes of attention layers do not show.
fn heads(unet: &mut UnetManifest, family: Option<&Family>, config: Option<&DiffusersConfig>, notes: &mut Vec<String>) {
    if let Some(config) = config {
        unet.num_head_channels = config.attention_head_dim.unwrap_or(0);
        unet.num_heads = usize::from(config.attention_head_dim.is_none());
        return;
    }
    if let Some(family) = family {
        unet.num_head_channels = family.num_head_channels;
        unet.num_heads = family.num_heads;
        unet.attention_order = family.attention_order;
        return;
    }
    let common = unet.attention_widths().into_iter().fold(HEAD_CHANNELS, greatest_common_divisor);
    unet.num_head_channels = common;
    notes.push(format!(
        "{common} channels per attention head are assumed, in the order [Q | K | V]: num_head_channels and attention_order of a manifest say otherwise"
    ));
}

const fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// OpenAI's scripts place attention at 16 and 8 pixels, or at 32, 16 and 8.
fn assumed_resolution(unet: &UnetManifest, notes: &mut Vec<String>) -> usize {
    let smallest = unet.patch_size << (unet.channel_mult.len() - 1);
    let side = if unet.attention_downsample.len() > 2 { 32 } else { 16 };
    let resolution = unet.attention_downsample.first().map_or(8 * smallest, |factor| side * factor * unet.patch_size);
    let resolution = if resolution.is_multiple_of(smallest) { resolution } else { 8 * smallest };
    notes.push(format!(
        "a resolution of {resolution}×{resolution} is assumed: the manifest's resolution says otherwise"
    ));
    resolution
}

fn diffusion(
    unet: &UnetManifest,
    preset: Option<&Preset>,
    config: Option<&DiffusersConfig>,
    named: Option<PreconditioningName>,
    nvlabs: bool,
    notes: &mut Vec<String>,
) -> DiffusionManifest {
    let consistency = DiffusionManifest::new(PreconditioningName::Consistency);
    let discrete = DiffusionManifest::new(PreconditioningName::Discrete);
    let mut diffusion = if let Some(preset) = preset {
        let schedule = preset.noise_schedule;
        let mut diffusion =
            DiffusionManifest { noise_schedule: schedule, ..DiffusionManifest::new(preset.preconditioning) };
        if preset.by_name() {
            notes.push(format!("that it is {}, only its name says: a manifest says otherwise", preset.name));
        }
        match preset.two_step_sigma {
            Some(sigma) => diffusion.two_step_sigma = sigma,
            None if preset.preconditioning == PreconditioningName::Consistency => notes.push(format!(
                "no noise level for two steps is published for it, so that of ImageNet 64×64, {}, is used",
                diffusion.two_step_sigma
            )),
            None => {}
        }
        diffusion
    } else if nvlabs {
        DiffusionManifest::new(PreconditioningName::Edm)
    } else if unet.learn_sigma {
        notes.push(
            "it gives a variance, so it is read as guided diffusion with the linear noise schedule and 1000 steps: \
             the manifest's preconditioning, noise_schedule and diffusion_steps say otherwise"
                .to_owned(),
        );
        discrete
    } else if let Some(preconditioning) = named {
        // The scheduler of a pipeline says it as well.
        if config.is_none_or(|config| config.scheduler.is_none()) {
            let what = if preconditioning == PreconditioningName::Edm { "EDM" } else { "a consistency model" };
            notes.push(format!(
                "that it was trained as {what}, only its name says: preconditioning in a manifest says otherwise"
            ));
        }
        DiffusionManifest::new(preconditioning)
    } else {
        if config.is_none_or(|config| config.scheduler.is_none()) {
            notes.push(
                "neither name nor shapes say how it was trained, so it is read as a consistency model: \
                 preconditioning = \"edm\" or \"discrete\" in a manifest says otherwise"
                    .to_owned(),
            );
        }
        consistency
    };
    if nvlabs {
        diffusion.time_scale = 1.0;
    }
    match config.and_then(|config| config.scheduler.as_ref()) {
        Some(Scheduler::Consistency { sigma_min, sigma_max, sigma_data, rho, .. }) => DiffusionManifest {
            preconditioning: PreconditioningName::Consistency,
            sigma_min: *sigma_min,
            sigma_max: *sigma_max,
            sigma_data: *sigma_data,
            rho: *rho,
            ..diffusion
        },
        Some(Scheduler::Discrete { schedule, steps }) => DiffusionManifest {
            preconditioning: PreconditioningName::Discrete,
            noise_schedule: *schedule,
            diffusion_steps: *steps,
            ..diffusion
        },
        None => diffusion,
    }
}
