//! Which tensors an architecture consists of, by canonical name and shape.
//!
//! The same walk as the networks' own constructors (`cm/unet.py`, torchvision `models/resnet.py`), without values: to say
//! what a file lacks, and to make networks of any size with values of one's own.

use super::{Manifest, ManifestKind, ResnetManifest, Shortcut, UnetManifest};

/// Names and shapes of everything that the network of `manifest` takes, in the order of construction.
#[must_use]
pub fn expected(manifest: &Manifest) -> Vec<(String, Vec<usize>)> {
    let mut list = List(Vec::new());
    match &manifest.kind {
        ManifestKind::Generator(spec) => list.unet(&spec.unet, manifest.channels, manifest.classes.len()),
        ManifestKind::Classifier(spec) => list.resnet(&spec.resnet, manifest.channels, manifest.classes.len()),
    }
    list.0
}

struct List(Vec<(String, Vec<usize>)>);

impl List {
    fn tensor(&mut self, name: String, shape: &[usize]) {
        self.0.push((name, shape.to_vec()));
    }

    /// A weight of this shape and a bias for its first extent.
    fn layer(&mut self, name: &str, shape: &[usize]) {
        self.tensor(format!("{name}.weight"), shape);
        self.tensor(format!("{name}.bias"), &shape[..1]);
    }

    fn conv(&mut self, name: &str, c_in: usize, c_out: usize, kernel: usize) {
        self.layer(name, &[c_out, c_in, kernel, kernel]);
    }

    fn unet(&mut self, net: &UnetManifest, channels: usize, classes: usize) {
        let base = net.model_channels;
        let emb = 4 * base;
        let picture = channels * net.patch_size * net.patch_size;
        let width = |level: usize| net.channel_mult[level] * base;
        let attends = |level: usize| net.attention_downsample.contains(&(1 << level));
        self.layer("time_embed.0", &[emb, base]);
        self.layer("time_embed.2", &[emb, emb]);
        if classes > 0 {
            self.tensor("label_emb.weight".to_owned(), &[classes, emb]);
        }

        // Every input block leaves a skip.
        let levels = net.channel_mult.len();
        let mut channels = width(0);
        self.conv("input_blocks.0.0", picture, channels, 3);
        let mut skips = vec![channels];
        for level in 0..levels {
            for _ in 0..net.num_res_blocks {
                let name = format!("input_blocks.{}", skips.len());
                self.res(net, &format!("{name}.0"), channels, width(level));
                channels = width(level);
                if attends(level) {
                    self.attention(&format!("{name}.1"), channels);
                }
                skips.push(channels);
            }
            if level + 1 < levels {
                let name = format!("input_blocks.{}.0", skips.len());
                if net.resblock_updown {
                    self.res(net, &name, channels, channels);
                } else {
                    self.conv(&format!("{name}.op"), channels, channels, 3);
                }
                skips.push(channels);
            }
        }
        self.res(net, "middle_block.0", channels, channels);
        self.attention("middle_block.1", channels);
        self.res(net, "middle_block.2", channels, channels);
        let mut blocks = (0..skips.len()).map(|block| format!("output_blocks.{block}"));
        for level in (0..levels).rev() {
            for i in 0..=net.num_res_blocks {
                let (Some(skip), Some(name)) = (skips.pop(), blocks.next()) else { return };
                self.res(net, &format!("{name}.0"), channels + skip, width(level));
                channels = width(level);
                if attends(level) {
                    self.attention(&format!("{name}.1"), channels);
                }
                if level > 0 && i == net.num_res_blocks {
                    let name = format!("{name}.{}", if attends(level) { 2 } else { 1 });
                    if net.resblock_updown {
                        self.res(net, &name, channels, channels);
                    } else {
                        self.conv(&format!("{name}.conv"), channels, channels, 3);
                    }
                }
            }
        }
        self.layer("out.0", &[channels]);
        self.conv("out.2", channels, if net.learn_sigma { 2 * picture } else { picture }, 3);
    }

    fn res(&mut self, net: &UnetManifest, name: &str, c_in: usize, c_out: usize) {
        let emb_out = if net.use_scale_shift_norm { 2 * c_out } else { c_out };
        self.layer(&format!("{name}.in_layers.0"), &[c_in]);
        self.conv(&format!("{name}.in_layers.2"), c_in, c_out, 3);
        self.layer(&format!("{name}.emb_layers.1"), &[emb_out, 4 * net.model_channels]);
        self.layer(&format!("{name}.out_layers.0"), &[c_out]);
        self.conv(&format!("{name}.out_layers.3"), c_out, c_out, 3);
        if c_in != c_out {
            self.conv(&format!("{name}.skip_connection"), c_in, c_out, 1);
        }
    }

    fn attention(&mut self, name: &str, channels: usize) {
        self.layer(&format!("{name}.norm"), &[channels]);
        self.conv(&format!("{name}.qkv"), channels, 3 * channels, 1);
        self.conv(&format!("{name}.proj_out"), channels, channels, 1);
    }

    fn resnet(&mut self, net: &ResnetManifest, channels: usize, classes: usize) {
        let mut width = net.widths[0];
        self.conv_bn("conv1", "bn1", [channels, width, net.stem_kernel]);
        for (stage, (count, planes)) in net.blocks.iter().zip(&net.widths).enumerate() {
            for block in 0..*count {
                let name = format!("layer{}.{block}", stage + 1);
                let (inner, out) = (net.inner_width(*planes), net.out_width(*planes));
                if out == *planes {
                    self.conv_bn(&format!("{name}.conv1"), &format!("{name}.bn1"), [width, out, 3]);
                    self.conv_bn(&format!("{name}.conv2"), &format!("{name}.bn2"), [out, out, 3]);
                } else {
                    self.conv_bn(&format!("{name}.conv1"), &format!("{name}.bn1"), [width, inner, 1]);
                    self.conv_bn(&format!("{name}.conv2"), &format!("{name}.bn2"), [inner, inner, 3]);
                    self.conv_bn(&format!("{name}.conv3"), &format!("{name}.bn3"), [inner, out, 1]);
                }
                // The first block of every stage but the first halves the resolution.
                if width != out || stage > 0 && block == 0 {
                    let at = usize::from(net.shortcut == Shortcut::Pool);
                    let (conv, norm) = (format!("{name}.downsample.{at}"), format!("{name}.downsample.{}", at + 1));
                    self.conv_bn(&conv, &norm, [width, out, 1]);
                }
                width = out;
            }
        }
        self.layer("fc", &[classes, width]);
    }

    /// A convolution without bias and the batch norm behind it.
    fn conv_bn(&mut self, conv: &str, norm: &str, [c_in, c_out, kernel]: [usize; 3]) {
        self.tensor(format!("{conv}.weight"), &[c_out, c_in, kernel, kernel]);
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            self.tensor(format!("{norm}.{leaf}"), &[c_out]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{
        AttentionOrder, BlockKind, ClassifierManifest, DiffusionManifest, GeneratorManifest, PreconditioningName,
        classes,
    };

    fn manifest(kind: ManifestKind) -> Manifest {
        Manifest {
            name: "test".to_owned(),
            title: "test".to_owned(),
            file: "test.pt".to_owned(),
            sha256: None,
            resolution: 64,
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
            };
            let (mean, std) = (vec![0.5; 3], vec![0.25; 3]);
            let list = expected(&manifest(ManifestKind::Classifier(ClassifierManifest { resnet, mean, std })));
            assert_eq!((parameters(&list), list.len()), (expected_size, tensors), "{blocks:?}");
        }
    }
}
