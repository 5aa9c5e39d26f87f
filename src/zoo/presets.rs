//! Published checkpoints: what their shapes do not say.
//!
//! A family is known by its shape; which of its members a file is, the words of its name say.
//!
//! # Sources
//! openai/consistency_models, `scripts/launch.sh` and README (resolution, heads, two-step indices); openai/guided-diffusion,
//! README (flags of every model); NVlabs/edm, `training/networks.py`. The intermediate noise levels are computed from the
//! published indices `ts` on the grid of `rho` 7 from 80 to 0.002.

use std::collections::BTreeSet;

use super::{AttentionOrder, NoiseSchedule, PreconditioningName, UnetManifest};

/// A network's shape, as far as presets are told apart by it.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    model_channels: usize,
    num_res_blocks: usize,
    channel_mult: &'static [usize],
    attention_downsample: &'static [usize],
    use_scale_shift_norm: bool,
    learn_sigma: bool,
    /// 0 for an unconditional network.
    classes: usize,
}

/// Networks of one shape.
#[derive(Debug)]
pub(super) struct Family {
    shape: Shape,
    /// Height and width of the pictures.
    pub(super) resolution: usize,
    /// Channels per attention head; 0 where `num_heads` decides.
    pub(super) num_head_channels: usize,
    pub(super) num_heads: usize,
    pub(super) attention_order: AttentionOrder,
    members: &'static [Preset],
}

/// One published checkpoint.
#[derive(Debug)]
pub(super) struct Preset {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Words that the file's name must have; of several members the first that fits counts.
    words: &'static [&'static str],
    pub(super) preconditioning: PreconditioningName,
    pub(super) noise_schedule: NoiseSchedule,
    /// Published intermediate noise level of two-step sampling.
    pub(super) two_step_sigma: Option<f64>,
    pub(super) source: &'static str,
    pub(super) licence: &'static str,
}

/// ts 0,22,39 of 40.
const CD_IMAGENET: f64 = 1.382_367_96;
/// ts 0,106,200 of 201.
const CT_IMAGENET: f64 = 1.912_843_62;
/// ts 0,17,39 of 40.
const CD_LPIPS_BEDROOM: f64 = 4.365_561_69;
/// ts 0,18,39 of 40.
const CD_L2_BEDROOM: f64 = 3.519_698_83;
/// ts 0,67,150 of 151.
const CT_BEDROOM: f64 = 3.991_218_61;
/// ts 0,62,150 of 151.
const CT_CAT: f64 = 5.248_503_23;

const fn consistency_models(
    name: &'static str,
    title: &'static str,
    words: &'static [&'static str],
    preconditioning: PreconditioningName,
    two_step_sigma: Option<f64>,
) -> Preset {
    Preset {
        name,
        title,
        words,
        preconditioning,
        noise_schedule: NoiseSchedule::Linear,
        two_step_sigma,
        source: "openai/consistency_models",
        licence: "MIT; meant for research (model card of openai/consistency_models)",
    }
}

const fn guided(
    name: &'static str,
    title: &'static str,
    words: &'static [&'static str],
    noise_schedule: NoiseSchedule,
) -> Preset {
    Preset {
        name,
        title,
        words,
        preconditioning: PreconditioningName::Discrete,
        noise_schedule,
        two_step_sigma: None,
        source: "openai/guided-diffusion",
        licence: "MIT",
    }
}

/// The word that stands for the names of NVlabs.
pub(super) const NVLABS: &str = "nvlabs";

const CONSISTENCY: PreconditioningName = PreconditioningName::Consistency;
const EDM: PreconditioningName = PreconditioningName::Edm;

const IMAGENET_64: &[Preset] = &[
    Preset {
        name: "edm-imagenet-64x64-cond-adm",
        title: "EDM (NVlabs), ImageNet 64×64",
        words: &[NVLABS],
        preconditioning: EDM,
        noise_schedule: NoiseSchedule::Linear,
        two_step_sigma: None,
        source: "NVlabs/edm",
        licence: "CC BY-NC-SA 4.0",
    },
    consistency_models("edm_imagenet64_ema", "EDM, ImageNet 64×64", &["edm"], EDM, None),
    consistency_models("cd_imagenet64_l2", "CD (L2), ImageNet 64×64", &["cd", "l2"], CONSISTENCY, Some(CD_IMAGENET)),
    consistency_models(
        "cd_imagenet64_lpips",
        "CD (LPIPS), ImageNet 64×64",
        &["cd", "lpips"],
        CONSISTENCY,
        Some(CD_IMAGENET),
    ),
    consistency_models("ct_imagenet64", "CT, ImageNet 64×64", &["ct"], CONSISTENCY, Some(CT_IMAGENET)),
];

const LSUN_256: &[Preset] = &[
    consistency_models("edm_bedroom256_ema", "EDM, LSUN Bedroom 256×256", &["edm", "bedroom"], EDM, None),
    consistency_models(
        "cd_bedroom256_l2",
        "CD (L2), LSUN Bedroom 256×256",
        &["cd", "l2", "bedroom"],
        CONSISTENCY,
        Some(CD_L2_BEDROOM),
    ),
    consistency_models(
        "cd_bedroom256_lpips",
        "CD (LPIPS), LSUN Bedroom 256×256",
        &["cd", "lpips", "bedroom"],
        CONSISTENCY,
        Some(CD_LPIPS_BEDROOM),
    ),
    consistency_models("ct_bedroom256", "CT, LSUN Bedroom 256×256", &["ct", "bedroom"], CONSISTENCY, Some(CT_BEDROOM)),
    consistency_models("edm_cat256_ema", "EDM, LSUN Cat 256×256", &["edm", "cat"], EDM, None),
    consistency_models("cd_cat256_l2", "CD (L2), LSUN Cat 256×256", &["cd", "l2", "cat"], CONSISTENCY, None),
    consistency_models("cd_cat256_lpips", "CD (LPIPS), LSUN Cat 256×256", &["cd", "lpips", "cat"], CONSISTENCY, None),
    consistency_models("ct_cat256", "CT, LSUN Cat 256×256", &["ct", "cat"], CONSISTENCY, Some(CT_CAT)),
];

const GUIDED_64: &[Preset] = &[guided("64x64_diffusion", "ADM, ImageNet 64×64", &[], NoiseSchedule::Cosine)];
const GUIDED_128: &[Preset] = &[guided("128x128_diffusion", "ADM, ImageNet 128×128", &[], NoiseSchedule::Linear)];
const GUIDED_256: &[Preset] = &[guided("256x256_diffusion", "ADM, ImageNet 256×256", &[], NoiseSchedule::Linear)];
const GUIDED_256_UNCOND: &[Preset] = &[
    guided("lsun_bedroom", "ADM, LSUN Bedroom 256×256", &["bedroom"], NoiseSchedule::Linear),
    guided("lsun_cat", "ADM, LSUN Cat 256×256", &["cat"], NoiseSchedule::Linear),
    guided("lsun_horse", "ADM, LSUN Horse 256×256", &["horse"], NoiseSchedule::Linear),
    guided("256x256_diffusion_uncond", "ADM, ImageNet 256×256, unconditional", &[], NoiseSchedule::Linear),
];

const SHAPE_64: Shape = Shape {
    model_channels: 192,
    num_res_blocks: 3,
    channel_mult: &[1, 2, 3, 4],
    attention_downsample: &[2, 4, 8],
    use_scale_shift_norm: true,
    learn_sigma: false,
    classes: 1000,
};
const SHAPE_256: Shape = Shape {
    model_channels: 256,
    num_res_blocks: 2,
    channel_mult: &[1, 1, 2, 2, 4, 4],
    attention_downsample: &[8, 16, 32],
    use_scale_shift_norm: true,
    learn_sigma: true,
    classes: 1000,
};

const fn family(
    shape: Shape,
    resolution: usize,
    attention_order: AttentionOrder,
    members: &'static [Preset],
) -> Family {
    Family { shape, resolution, num_head_channels: 64, num_heads: 0, attention_order, members }
}

static FAMILIES: [Family; 6] = [
    family(SHAPE_64, 64, AttentionOrder::New, IMAGENET_64),
    family(
        Shape { use_scale_shift_norm: false, learn_sigma: false, classes: 0, ..SHAPE_256 },
        256,
        AttentionOrder::New,
        LSUN_256,
    ),
    family(Shape { learn_sigma: true, ..SHAPE_64 }, 64, AttentionOrder::New, GUIDED_64),
    Family {
        shape: Shape { channel_mult: &[1, 1, 2, 3, 4], attention_downsample: &[4, 8, 16], ..SHAPE_256 },
        resolution: 128,
        num_head_channels: 0,
        num_heads: 4,
        attention_order: AttentionOrder::Legacy,
        members: GUIDED_128,
    },
    family(SHAPE_256, 256, AttentionOrder::Legacy, GUIDED_256),
    family(Shape { classes: 0, ..SHAPE_256 }, 256, AttentionOrder::Legacy, GUIDED_256_UNCOND),
];

/// The published family with this shape.
pub(super) fn family_of(unet: &UnetManifest, classes: usize) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| {
        let shape = &family.shape;
        // All published ones resample by residual blocks, on plain pictures.
        unet.resblock_updown
            && unet.patch_size == 1
            && unet.model_channels == shape.model_channels
            && unet.num_res_blocks == shape.num_res_blocks
            && unet.channel_mult == shape.channel_mult
            && unet.attention_downsample == shape.attention_downsample
            && unet.use_scale_shift_norm == shape.use_scale_shift_norm
            && unet.learn_sigma == shape.learn_sigma
            && classes == shape.classes
    })
}

impl Preset {
    /// Whether only the words of a file's name tell it from others of the same shape.
    pub(super) fn by_name(&self) -> bool {
        self.words.iter().any(|word| *word != NVLABS)
    }
}

impl Family {
    /// The member that these words name.
    pub(super) fn member(&self, words: &BTreeSet<String>) -> Option<&'static Preset> {
        self.members.iter().find(|preset| preset.words.iter().all(|word| words.contains(*word)))
    }
}
