//! Which tensors a manifest's network consists of: to say what a file lacks, and to make networks of any size with values of
//! one's own.

use super::{ExtractorManifest, Manifest, ManifestKind};
use crate::net::resnet::ResnetConfig;
use crate::net::unet::UnetConfig;

impl Manifest {
    /// The U-Net of a generator.
    #[must_use]
    pub fn unet(&self) -> Option<UnetConfig> {
        let ManifestKind::Generator(spec) = &self.kind else { return None };
        let num_classes = Some(self.classes.len()).filter(|classes| *classes > 0);
        Some(UnetConfig { arch: spec.unet.clone(), channels: self.channels, num_classes })
    }

    /// The residual network of a classifier.
    #[must_use]
    pub fn resnet(&self) -> Option<ResnetConfig> {
        let ManifestKind::Classifier(spec) = &self.kind else { return None };
        Some(ResnetConfig { arch: spec.resnet.clone(), channels: self.channels, num_classes: self.classes.len() })
    }

    /// Inception-2015 of an extractor.
    #[must_use]
    pub const fn inception(&self) -> Option<ExtractorManifest> {
        if let ManifestKind::Extractor(spec) = &self.kind { Some(*spec) } else { None }
    }
}

/// Names and shapes of everything that the network of `manifest` takes, in the order of construction.
#[must_use]
pub fn expected(manifest: &Manifest) -> Vec<(String, Vec<usize>)> {
    let unet = manifest.unet().map(|config| config.tensors());
    let resnet = || manifest.resnet().map(|config| config.tensors());
    let inception = || manifest.inception().map(ExtractorManifest::tensors);
    unet.or_else(resnet).or_else(inception).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{
        AttentionOrder, BlockKind, ClassifierManifest, DiffusionManifest, GeneratorManifest, PreconditioningName,
        ResnetManifest, Shortcut, UnetManifest, classes,
    };

    fn manifest(kind: ManifestKind) -> Manifest {
        Manifest {
            name: "test".to_owned(),
            title: "test".to_owned(),
            file: "test.pt".to_owned(),
            sha256: None,
            prefix: None,
            resolution: 64,
            width: None,
            channels: 3,
            classes: classes::built_in("imagenet").unwrap(),
            source: "a test".to_owned(),
            licence: "none".to_owned(),
            kind,
        }
    }

    /// Parameters, without the statistics of batch norms.
    fn parameters(list: &[(String, Vec<usize>)]) -> usize {
        let counted = list.iter().filter(|(name, _)| !name.contains("running_"));
        counted.map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn the_imagenet_64_network_has_its_published_size() {
        let unet = UnetManifest {
            model_channels: 192,
            num_res_blocks: 3,
            channel_mult: vec![1, 2, 3, 4],
            attention_downsample: vec![2, 4, 8],
            num_head_channels: 64,
            num_heads: 0,
            use_scale_shift_norm: true,
            resblock_updown: true,
            attention_order: AttentionOrder::New,
            learn_sigma: false,
            patch_size: 1,
        };
        let diffusion = DiffusionManifest::new(PreconditioningName::Consistency);
        let list = expected(&manifest(ManifestKind::Generator(GeneratorManifest { unet, diffusion })));
        assert_eq!((list.len(), parameters(&list)), (541, 295_899_267));
        let shape = |name: &str| list.iter().find(|(found, _)| found == name).map(|(_, shape)| shape.clone());
        assert_eq!(shape("input_blocks.5.0.skip_connection.weight"), Some(vec![384, 192, 1, 1]));
        assert_eq!(shape("input_blocks.5.1.qkv.weight"), Some(vec![1152, 384, 1, 1]));
        assert_eq!(shape("output_blocks.12.0.skip_connection.weight"), Some(vec![192, 576, 1, 1]));
        assert_eq!(shape("output_blocks.3.2.in_layers.2.weight"), Some(vec![768, 768, 3, 3]));
        assert_eq!(shape("out.2.weight"), Some(vec![3, 192, 3, 3]));
    }

    #[test]
    fn torchvisions_networks_have_their_sizes() {
        let (basic, bottleneck) = (BlockKind::Basic, BlockKind::Bottleneck);
        for (block, blocks, width_per_group, expected_size, tensors) in [
            (basic, [2, 2, 2, 2], 64, 11_689_512, 122 - 20),
            (basic, [3, 4, 6, 3], 64, 21_797_672, 218 - 36),
            (bottleneck, [3, 4, 6, 3], 64, 25_557_032, 320 - 53),
            (bottleneck, [3, 8, 36, 3], 64, 60_192_808, 932 - 155),
            (bottleneck, [3, 4, 6, 3], 128, 68_883_240, 320 - 53),
            (bottleneck, [3, 4, 23, 3], 128, 126_886_696, 626 - 104),
        ] {
            let resnet = ResnetManifest {
                block,
                blocks: blocks.to_vec(),
                widths: vec![64, 128, 256, 512],
                width_per_group,
                shortcut: Shortcut::Conv,
                stem_kernel: 7,
                stem_stride: 2,
                stem_pool: true,
                preactivation: None,
            };
            let (mean, std) = (vec![0.5; 3], vec![0.25; 3]);
            let list = expected(&manifest(ManifestKind::Classifier(ClassifierManifest { resnet, mean, std })));
            assert_eq!((parameters(&list), list.len()), (expected_size, tensors), "{blocks:?}");
        }
    }
}
