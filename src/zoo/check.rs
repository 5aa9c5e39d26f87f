//! What the values of a manifest may be.

use std::path::{Component, Path};

use super::{
    BlockKind, ClassifierManifest, DiffusionManifest, Manifest, ManifestKind, ResnetManifest, Shortcut, UnetManifest,
    classes,
};
use crate::net::inception::SIDE;

/// Levels of a U-Net, and the factor of each.
pub(super) const MAX_LEVELS: usize = 16;
/// Channels of a layer, and blocks of a level or stage.
const MAX_WIDTH: usize = 16_384;
/// Steps of a discrete noise schedule.
const MAX_DIFFUSION_STEPS: usize = 100_000;

/// What a manifest says, and what it should say instead.
type Problem = (String, &'static str);

impl Manifest {
    /// The first value that cannot be.
    pub(super) fn problem(&self) -> Option<Problem> {
        if !(1..=4096).contains(&self.resolution) {
            return Some((format!("resolution = {}", self.resolution), "it must be from 1 to 4096"));
        }
        if self.width.is_some_and(|width| !(1..=4096).contains(&width)) {
            return Some((format!("width = {}", self.size()[1]), "it must be from 1 to 4096"));
        }
        if !(1..=4).contains(&self.channels) {
            return Some((format!("channels = {}", self.channels), "it must be from 1 to 4"));
        }
        let mut parts = Path::new(&self.file).components();
        if !(matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none()) {
            return Some((format!("file = {:?}", self.file), "it must be a name beside the manifest"));
        }
        if let Some(name) = classes::repeated(&self.classes) {
            return Some((format!("two classes named {name:?}"), "every class needs a name of its own"));
        }
        match &self.kind {
            ManifestKind::Generator(generator) => {
                generator.unet.problem(self.size()).or_else(|| generator.diffusion.problem())
            }
            ManifestKind::Classifier(_) if self.classes.is_empty() => {
                Some(("no classes".to_owned(), "a classifier needs the names of its classes"))
            }
            ManifestKind::Classifier(classifier) => classifier
                .problem(self.channels)
                .or_else(|| classifier.resnet.problem())
                .or_else(|| classifier.resnet.odd(self.size())),
            ManifestKind::Extractor(_) => {
                let is_it = self.channels == 3 && self.size() == [SIDE; 2];
                let what = || format!("{} channels of {:?} pixels", self.channels, self.size());
                (!is_it).then(|| (what(), "Inception-2015 sees channels = 3 at resolution = 299"))
            }
        }
    }
}

impl ClassifierManifest {
    fn problem(&self, channels: usize) -> Option<Problem> {
        if self.mean.len() != channels || self.std.len() != channels {
            return Some(("a mean or std of another length".to_owned(), "there must be one value per channel"));
        }
        if self.mean.iter().any(|mean| !mean.is_finite()) {
            return Some((format!("mean = {:?}", self.mean), "every value must be finite"));
        }
        let bad = self.std.iter().any(|std| !std.is_finite() || *std <= 0.0);
        bad.then(|| (format!("std = {:?}", self.std), "every value must be positive"))
    }
}

impl ResnetManifest {
    fn problem(&self) -> Option<Problem> {
        let stem_width = self.preactivation.map_or(1, |pre| pre.stem_width);
        let sizes = [self.stem_kernel, self.stem_stride, self.width_per_group, stem_width];
        if self.widths.iter().chain(&self.blocks).chain(&sizes).any(|size| *size > MAX_WIDTH)
            || self.blocks.len() > MAX_LEVELS
        {
            return Some(("an enormous network".to_owned(), "sizes above 16384 are not accepted"));
        }
        let empty = self.blocks.is_empty() || self.blocks.contains(&0) || self.widths.contains(&0);
        if empty || self.blocks.len() != self.widths.len() {
            let what = format!("blocks = {:?} and widths = {:?}", self.blocks, self.widths);
            return Some((what, "both need one positive number per stage"));
        }
        if stem_width == 0 {
            return Some(("stem_width = 0".to_owned(), "it must be positive"));
        }
        if self.preactivation.is_some() && self.shortcut == Shortcut::Pool {
            let what = "shortcut = \"pool\" with preactivation".to_owned();
            return Some((what, "the shortcuts of pre-activation networks are strided: shortcut = \"conv\""));
        }
        if self.stem_kernel.is_multiple_of(2) || self.stem_stride == 0 {
            let what = format!("stem_kernel = {} and stem_stride = {}", self.stem_kernel, self.stem_stride);
            return Some((what, "the kernel must be odd, and the stride positive"));
        }
        let whole = |planes: &usize| {
            let inner = planes * self.width_per_group;
            inner > 0 && inner.is_multiple_of(64)
        };
        if self.block == BlockKind::Bottleneck && !self.widths.iter().all(whole) {
            let what = format!("width_per_group = {} with widths = {:?}", self.width_per_group, self.widths);
            return Some((what, "width * width_per_group / 64 must be a whole number"));
        }
        None
    }
}

impl ResnetManifest {
    fn odd(&self, size @ [height, width]: [usize; 2]) -> Option<Problem> {
        let multiple = self.check_size(size).err()?.multiple;
        let width = if height == width { String::new() } else { format!(" and width = {width}") };
        let what = format!("resolution = {height}{width} for a network that needs multiples of {multiple}");
        Some((what, "height and width must be such multiples"))
    }
}

impl UnetManifest {
    fn problem(&self, [height, width]: [usize; 2]) -> Option<Problem> {
        let levels = self.channel_mult.len();
        if !(1..=MAX_LEVELS).contains(&levels) || self.channel_mult.iter().any(|mult| !(1..=MAX_LEVELS).contains(mult))
        {
            let what = format!("channel_mult = {:?}", self.channel_mult);
            return Some((what, "it needs 1 to 16 factors, each from 1 to 16"));
        }
        let levels_below = |factor: &usize| factor.is_power_of_two() && *factor < 1 << levels;
        if let Some(factor) = self.attention_downsample.iter().find(|factor| !levels_below(factor)) {
            let what = format!("attention_downsample with {factor} for {levels} levels");
            return Some((what, "its factors are those of levels: 1 for the first, then 2, 4 and so on"));
        }
        if self.num_res_blocks == 0 {
            return Some(("num_res_blocks = 0".to_owned(), "every level needs at least one residual block"));
        }
        let sizes = [self.model_channels, self.num_res_blocks, self.patch_size, self.num_head_channels, self.num_heads];
        if sizes.iter().any(|size| *size > MAX_WIDTH) {
            return Some((format!("a size of {sizes:?}"), "sizes above 16384 are not accepted"));
        }
        let shrink = self.patch_size.max(1) << (levels - 1);
        let patch = self.patch_size;
        if patch == 0 || !(height.is_multiple_of(shrink) && width.is_multiple_of(shrink)) {
            let width = if height == width { String::new() } else { format!(" and width = {width}") };
            return Some((
                format!(
                    "resolution = {height}{width} with patch_size = {patch} and {levels} levels, which need multiples of {shrink}"
                ),
                "height and width must be divisible by patch_size * 2^(levels - 1)",
            ));
        }
        if self.model_channels == 0 || !self.model_channels.is_multiple_of(32) {
            let what = format!("model_channels = {}", self.model_channels);
            return Some((what, "it must be a multiple of 32 (group norm)"));
        }
        let widths = self.attention_widths();
        if self.num_head_channels > 0 {
            let uneven = widths.iter().any(|width| !width.is_multiple_of(self.num_head_channels));
            let what = || format!("num_head_channels = {}", self.num_head_channels);
            return uneven.then(|| (what(), "it must divide the channels of every level with attention"));
        }
        if self.num_heads == 0 || widths.iter().any(|width| !width.is_multiple_of(self.num_heads)) {
            let what = format!("num_head_channels = 0 and num_heads = {}", self.num_heads);
            return Some((what, "one of them must divide the channels of every level with attention"));
        }
        None
    }
}

impl DiffusionManifest {
    fn problem(&self) -> Option<Problem> {
        let ordered = 0.0 < self.sigma_min && self.sigma_min < self.sigma_max && self.sigma_max.is_finite();
        let positive =
            [self.sigma_data, self.rho, self.two_step_sigma, self.time_scale].iter().all(|x| x.is_finite() && *x > 0.0);
        if !ordered || !positive {
            return Some((
                "impossible noise levels".to_owned(),
                "0 < sigma_min < sigma_max, and sigma_data, rho, two_step_sigma and time_scale must be positive",
            ));
        }
        let steps = self.diffusion_steps;
        let possible = (1..=MAX_DIFFUSION_STEPS).contains(&steps);
        (!possible).then(|| (format!("diffusion_steps = {steps}"), "it must be from 1 to 100000"))
    }
}
