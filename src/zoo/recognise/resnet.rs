//! ResNets, by their shapes.

use super::{Facts, Hints, Recognised, Refusal, Shapes, class_names, dims};
use crate::zoo::{
    Activation, BlockKind, ClassifierManifest, Dialect, ManifestKind, Padding, Preactivation, ResnetManifest, Shortcut,
};

/// Planes of torchvision's stages.
const PLANES: [usize; 4] = [64, 128, 256, 512];
/// Most stages and blocks that are counted.
const MAX_BLOCKS: usize = 1000;
/// Mean and standard deviation per channel, of ImageNet (torchvision).
const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
/// Likewise of CIFAR-10, as robustness has them.
const CIFAR: [[f32; 3]; 2] = [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]];

/// Likewise, as DAT and DeepMind have them: the deviation over all pixels instead of the mean over pictures.
const CIFAR_EXACT: [[f32; 3]; 2] = [[0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]];

/// A network of torchvision, or one of its kind.
struct Known {
    preset: &'static str,
    title: &'static str,
    block: BlockKind,
    blocks: [usize; 4],
    width_per_group: usize,
}

const fn known(
    preset: &'static str,
    title: &'static str,
    block: BlockKind,
    blocks: [usize; 4],
    width_per_group: usize,
) -> Known {
    Known { preset, title, block, blocks, width_per_group }
}

const KNOWN: [Known; 8] = [
    known("resnet18", "ResNet-18", BlockKind::Basic, [2, 2, 2, 2], 64),
    known("resnet34", "ResNet-34", BlockKind::Basic, [3, 4, 6, 3], 64),
    known("resnet50", "ResNet-50", BlockKind::Bottleneck, [3, 4, 6, 3], 64),
    known("resnet101", "ResNet-101", BlockKind::Bottleneck, [3, 4, 23, 3], 64),
    known("resnet152", "ResNet-152", BlockKind::Bottleneck, [3, 8, 36, 3], 64),
    known("wide_resnet50_2", "Wide-ResNet-50-2", BlockKind::Bottleneck, [3, 4, 6, 3], 128),
    known("wide_resnet50_4", "Wide-ResNet-50-4", BlockKind::Bottleneck, [3, 4, 6, 3], 256),
    known("wide_resnet101_2", "Wide-ResNet-101-2", BlockKind::Bottleneck, [3, 4, 23, 3], 128),
];

pub(super) fn recognise(tensors: &Shapes, hints: Hints) -> Result<Recognised, Refusal> {
    let mut notes = hints.notes.clone();
    let (resnet, channels) = architecture(tensors, hints.dialect, &mut notes)?;
    let fc = dims::<2>(tensors, "fc.weight");
    let [count, _] = fc.ok_or_else(|| Refusal::Foreign("this ResNet has no last layer fc".to_owned()))?;
    let small = resnet.stem_kernel <= 3;
    let named = hints.card.labels.len() == count;
    let classes = if named { hints.card.labels.clone() } else { class_names(count, small, &mut notes)? };
    let [mean, std] = normalisation(&hints, &resnet, (count, channels), &mut notes);
    let known = KNOWN.iter().find(|known| {
        let shape = (known.block, known.blocks.as_slice(), known.width_per_group);
        resnet.widths == PLANES && shape == (resnet.block, resnet.blocks.as_slice(), resnet.width_per_group)
    });
    // torchvision's own begin with a kernel of 7.
    let preset = known.filter(|_| resnet.stem_kernel == 7 && resnet.preactivation.is_none());
    let what = wide(&resnet).unwrap_or_else(|| {
        let plain = known.map_or_else(
            || format!("ResNet of {} blocks, {} planes", resnet.blocks.iter().sum::<usize>(), list(&resnet.widths)),
            |known| known.title.to_owned(),
        );
        if resnet.preactivation.is_some() { format!("Pre-activation {plain}") } else { plain }
    });
    let title = if small { format!("{what} for small pictures") } else { what };
    let resolution = hints.card.size.unwrap_or(if small { 32 } else { 224 });
    notes.push(format!("it takes pictures of any size; opened ones are made {resolution}×{resolution}"));
    let kind = ManifestKind::Classifier(ClassifierManifest { resnet, mean, std });
    let facts = Facts { resolution, channels, classes, kind, licence: "unknown" };
    let manifest = hints.manifest(title, "recognised by its shapes".to_owned(), facts);
    Ok(Recognised { manifest, preset: preset.map(|known| known.preset), notes })
}

/// The name of a Wide-ResNet by its depth and its width, as Zagoruyko and Komodakis count them.
fn wide(resnet: &ResnetManifest) -> Option<String> {
    let pre = resnet.preactivation?;
    let [blocks, rest @ ..] = resnet.blocks.as_slice() else { return None };
    let [width, second, third] = resnet.widths.as_slice() else { return None };
    let regular = rest.iter().all(|count| count == blocks)
        && (Some(*second), Some(*third)) == (width.checked_mul(2), width.checked_mul(4))
        && resnet.block == BlockKind::Basic
        && pre.stem_width > 0
        && width.is_multiple_of(pre.stem_width);
    regular.then(|| format!("Wide-ResNet-{}-{}", 6 * blocks + 4, width / pre.stem_width))
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}

/// What the shapes say of the network, and its colour channels.
fn architecture(
    tensors: &Shapes,
    dialect: Dialect,
    notes: &mut Vec<String>,
) -> Result<(ResnetManifest, usize), Refusal> {
    let foreign = |what: &str| Refusal::Foreign(format!("this ResNet {what}"));
    let [stem_width, channels, kernel, _] =
        dims::<4>(tensors, "conv1.weight").ok_or_else(|| foreign("has no first convolution conv1"))?;
    if !(1..=4).contains(&channels) {
        return Err(foreign(&format!("takes {channels} channels, which are no picture's")));
    }
    let has = |name: &str| tensors.contains_key(name);
    let (mut blocks, mut widths) = (Vec::new(), Vec::new());
    let bottleneck = has("layer1.0.conv3.weight");
    let mut width_per_group = None;
    for stage in 1..=MAX_BLOCKS {
        let count = (0..MAX_BLOCKS).take_while(|i| has(&format!("layer{stage}.{i}.conv1.weight"))).count();
        if count == 0 {
            break;
        }
        let conv = |number: usize| dims::<4>(tensors, &format!("layer{stage}.0.conv{number}.weight"));
        let [inner, per_group, _, _] = conv(2).ok_or_else(|| foreign("has a block without conv2"))?;
        if inner != per_group {
            return Err(foreign("has grouped convolutions (ResNeXt)"));
        }
        let planes = match (bottleneck, conv(3)) {
            (true, Some([out, ..])) if out > 0 && out.is_multiple_of(4) => out / 4,
            (false, _) => inner,
            _ => return Err(foreign("has bottlenecks of an odd width")),
        };
        let wide = if bottleneck { inner.saturating_mul(64) / planes } else { 64 };
        if *width_per_group.get_or_insert(wide) != wide {
            return Err(foreign("has stages of different bottlenecks"));
        }
        blocks.push(count);
        widths.push(planes);
    }
    whole(tensors, &blocks)?;
    let preactivation = if is_preactivation(tensors, blocks.len()) {
        Some(preactivation(dialect, stem_width, has("bn1.weight"), notes))
    } else if has("bn1.weight") {
        None
    } else if has("layer1.0.bn1.weight") {
        return Err(foreign("has no batch norm bn1 behind its first convolution, but batch norms behind all others"));
    } else {
        return Err(foreign("has no batch norms"));
    };
    let pools = tensors.iter().any(|(name, info)| name.ends_with(".downsample.1.weight") && info.shape.len() == 4);
    let resnet = ResnetManifest {
        block: if bottleneck { BlockKind::Bottleneck } else { BlockKind::Basic },
        blocks,
        widths,
        width_per_group: width_per_group.unwrap_or(64),
        shortcut: if pools { Shortcut::Pool } else { Shortcut::Conv },
        stem_kernel: kernel,
        // Strides have no shape: 7x7 with stride 2 and a pool is torchvision's stem, 3x3 without either CIFAR's.
        stem_stride: if kernel > 3 { 2 } else { 1 },
        stem_pool: kernel > 3,
        preactivation,
    };
    Ok((resnet, channels))
}

/// Refuses a network that has a block behind those that were counted: then the first convolution of one is missing.
fn whole(tensors: &Shapes, blocks: &[usize]) -> Result<(), Refusal> {
    let place = |name: &str| -> Option<(usize, usize)> {
        let (stage, rest) = name.strip_prefix("layer")?.split_once('.')?;
        Some((stage.parse().ok()?, rest.split('.').next()?.parse().ok()?))
    };
    let counted = |stage: usize| stage.checked_sub(1).and_then(|place| blocks.get(place)).copied();
    let behind = |(stage, block): (usize, usize)| counted(stage).is_none_or(|count| block >= count);
    let beside =
        tensors.keys().find(|name| place(name).is_some_and(|at| (1..=MAX_BLOCKS).contains(&at.0) && behind(at)));
    let Some((beside, (stage, _))) = beside.and_then(|name| Some((name.clone(), place(name)?))) else { return Ok(()) };
    let (stage, block) = counted(stage).map_or((blocks.len() + 1, 0), |count| (stage, count));
    Err(Refusal::Incomplete { tensor: format!("layer{stage}.{block}.conv1.weight"), beside })
}

/// Whether the norms of blocks stand before their convolutions: then the first of a block has as many channels as the
/// block takes, else as many as its first convolution gives. Where a network never changes its width, a norm behind the
/// first convolution or in a shortcut tells.
fn is_preactivation(tensors: &Shapes, stages: usize) -> bool {
    let first = (1..=stages).map(|stage| {
        let conv = dims::<4>(tensors, &format!("layer{stage}.0.conv1.weight"));
        (conv, dims::<1>(tensors, &format!("layer{stage}.0.bn1.weight")))
    });
    let mut told = first.filter_map(|(conv, norm)| {
        let ([out, c_in, ..], [norm]) = (conv?, norm?);
        (out != c_in && (norm == c_in || norm == out)).then_some(norm == c_in)
    });
    let shortcut = |end: &str| tensors.keys().any(|name| name.contains(".downsample.") && name.ends_with(end));
    told.next().unwrap_or_else(|| {
        let normed = tensors.contains_key("layer1.0.bn1.weight") && !shortcut(".running_mean");
        normed && (shortcut(".0.weight") || !tensors.contains_key("bn1.weight"))
    })
}

/// What shapes do not tell of a pre-activation network, its library does.
fn preactivation(dialect: Dialect, stem_width: usize, final_norm: bool, notes: &mut Vec<String>) -> Preactivation {
    let deepmind = dialect == Dialect::DeepMind;
    if deepmind {
        notes.push(
            "its activations are taken for SiLU, as in the networks of DeepMind that are published: activation = \"relu\" in \
             a manifest says otherwise"
                .to_owned(),
        );
    }
    if !final_norm {
        notes.push(
            "no norm stands before its last layer, so its shortcuts are taken to see a block's input as it is, as in \
             RobustBench's PreActResNet: activated_shortcut = true in a manifest says otherwise"
                .to_owned(),
        );
    }
    Preactivation {
        stem_width,
        final_norm,
        activated_shortcut: final_norm,
        activation: if deepmind { Activation::Silu } else { Activation::Relu },
        padding: if deepmind { Padding::Behind } else { Padding::Around },
    }
}

/// Mean and standard deviation per channel: the file's own, or those of the data set that the classes suggest.
fn normalisation(
    hints: &Hints,
    resnet: &ResnetManifest,
    (classes, channels): (usize, usize),
    notes: &mut Vec<String>,
) -> [Vec<f32>; 2] {
    match hints.normalisation.as_ref().or(hints.card.normalisation.as_ref()) {
        Some(own) if own[0].len() == channels && own[1].len() == channels => return own.clone(),
        Some(own) => notes.push(format!(
            "it brings an input normalisation for {} channels instead of {channels}, which is not used",
            own[0].len()
        )),
        None => {}
    }
    if hints.dialect == Dialect::WideResnet {
        notes.push(
            "its input is taken as it is, in [0, 1], like that of TRADES' and RobustBench's Wide-ResNets: mean and std of a \
             manifest say otherwise (for DAT's: 0.4914 0.4822 0.4465 and 0.2470 0.2435 0.2616)"
                .to_owned(),
        );
        return [vec![0.0; channels], vec![1.0; channels]];
    }
    let small = resnet.stem_kernel <= 3;
    let published = match (classes, small) {
        (10, true) if resnet.preactivation.is_some() => Some((CIFAR_EXACT, "CIFAR-10")),
        (10, true) => Some((CIFAR, "CIFAR-10")),
        (1000, _) | (_, false) => Some((IMAGENET, "ImageNet")),
        _ => None,
    };
    match published.filter(|_| channels == 3) {
        Some((values, name)) => {
            notes.push(format!("its input is normalised like {name}: mean and std of a manifest say otherwise"));
            values.map(|values| values.to_vec())
        }
        None => {
            notes.push(
                "its input normalisation is not known, so mean 0.5 and std 0.25 are assumed: give mean and std in a manifest"
                    .to_owned(),
            );
            [vec![0.5; channels], vec![0.25; channels]]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::{Element, TensorInfo};
    use crate::net::resnet::ResnetConfig;
    use crate::zoo::recognise::from_shapes;

    fn shapes(arch: &ResnetManifest) -> Shapes {
        let config = ResnetConfig { arch: arch.clone(), channels: 3, num_classes: 10 };
        let info = |shape| TensorInfo { shape, element: Element::F32 };
        config.tensors().into_iter().map(|(name, shape)| (name, info(shape))).collect()
    }

    /// Without the statistics of batch norms.
    fn parameters(shapes: &Shapes) -> usize {
        let counted = shapes.iter().filter(|(name, _)| !name.contains(".running_"));
        counted.map(|(_, info)| info.elements()).sum()
    }

    fn small(blocks: &[usize], widths: &[usize], pre: Preactivation) -> ResnetManifest {
        ResnetManifest {
            block: BlockKind::Basic,
            blocks: blocks.to_vec(),
            widths: widths.to_vec(),
            width_per_group: 64,
            shortcut: Shortcut::Conv,
            stem_kernel: 3,
            stem_stride: 1,
            stem_pool: false,
            preactivation: Some(pre),
        }
    }

    fn recognised(shapes: &Shapes, dialect: Dialect) -> (Recognised, ClassifierManifest) {
        let recognised = from_shapes(shapes, Hints::of_path(Path::new("mine.pt"), dialect)).unwrap();
        assert_eq!(recognised.manifest.problem(), None);
        let ManifestKind::Classifier(spec) = recognised.manifest.kind.clone() else { panic!("{recognised:?}") };
        (recognised, spec)
    }

    #[test]
    fn preactivation_networks_of_the_field_have_their_names_and_sizes() {
        let mut none = Vec::new();
        for (depth, width, size) in [(28, 10, 36_479_194), (34, 10, 46_160_474), (70, 16, 266_796_506)] {
            for dialect in [Dialect::WideResnet, Dialect::DeepMind] {
                let pre = preactivation(dialect, 16, true, &mut none);
                let widths = [16 * width, 32 * width, 64 * width];
                let arch = small(&[(depth - 4) / 6; 3], &widths, pre);
                let shapes = shapes(&arch);
                assert_eq!(parameters(&shapes), size, "{depth}-{width}");
                let (recognised, spec) = recognised(&shapes, dialect);
                assert_eq!(spec.resnet, arch);
                assert_eq!(recognised.manifest.title, format!("Wide-ResNet-{depth}-{width} for small pictures"));
                assert_eq!(recognised.preset, None);
                let as_it_is = dialect == Dialect::WideResnet;
                assert_eq!(spec.std == [1.0; 3] && spec.mean == [0.0; 3], as_it_is, "{:?}", recognised.notes);
            }
        }
        for (final_norm, size) in [(true, 11_172_170), (false, 11_171_146)] {
            let pre = preactivation(Dialect::Cifar, 64, final_norm, &mut none);
            let arch = small(&[2; 4], &PLANES, pre);
            let shapes = shapes(&arch);
            assert_eq!(parameters(&shapes), size);
            let (recognised, spec) = recognised(&shapes, Dialect::Cifar);
            assert_eq!((spec.resnet, spec.std[0]), (arch, 0.2471));
            assert_eq!(recognised.manifest.title, "Pre-activation ResNet-18 for small pictures");
        }
    }

    #[test]
    fn where_norms_stand_is_seen_in_every_form() {
        let mut none = Vec::new();
        for block in [BlockKind::Basic, BlockKind::Bottleneck] {
            for (stem, widths) in [(8, vec![8, 8]), (8, vec![8, 16]), (16, vec![16]), (4, vec![16])] {
                for final_norm in [true, false] {
                    let pre = preactivation(Dialect::Torchvision, stem, final_norm, &mut none);
                    let blocks = vec![2; widths.len()];
                    let arch = ResnetManifest { block, ..small(&blocks, &widths, pre) };
                    // One stage that keeps its width, with a norm at the end, has the shapes of one with norms behind.
                    let told = block == BlockKind::Bottleneck || widths != [16] || stem != 16 || !final_norm;
                    let (_, found) = recognised(&shapes(&arch), Dialect::Torchvision);
                    assert_eq!(found.resnet == arch, told, "{arch:?}");
                    let behind = ResnetManifest { preactivation: None, ..arch };
                    let (_, found) = recognised(&shapes(&behind), Dialect::Torchvision);
                    assert_eq!(found.resnet, behind);
                }
            }
        }
    }

    #[test]
    fn a_convolution_that_is_missing_is_named() {
        let arch = ResnetManifest {
            preactivation: None,
            ..small(&[1, 2, 1], &[8, 16, 32], preactivation(Dialect::Cifar, 8, true, &mut Vec::new()))
        };
        for tensor in ["layer2.0.conv1.weight", "layer2.1.conv1.weight", "layer3.0.conv1.weight"] {
            let mut shapes = shapes(&arch);
            shapes.remove(tensor);
            let refusal = from_shapes(&shapes, Hints::of_path(Path::new("mine.pt"), Dialect::Cifar)).unwrap_err();
            let Refusal::Incomplete { tensor: found, beside } = refusal else { panic!("{refusal:?}") };
            assert_eq!((found.as_str(), &beside[..8]), (tensor, &tensor[..8]));
        }
    }

    #[test]
    fn a_wide_resnet_50_4_is_known() {
        let arch = ResnetManifest {
            block: BlockKind::Bottleneck,
            blocks: vec![3, 4, 6, 3],
            widths: PLANES.to_vec(),
            width_per_group: 256,
            stem_kernel: 7,
            stem_stride: 2,
            stem_pool: true,
            preactivation: None,
            ..small(&[], &[], preactivation(Dialect::Torchvision, 64, true, &mut Vec::new()))
        };
        let (recognised, spec) = recognised(&shapes(&arch), Dialect::Torchvision);
        assert_eq!((recognised.preset, spec.resnet), (Some("wide_resnet50_4"), arch));
        assert_eq!(recognised.manifest.title, "Wide-ResNet-50-4");
    }
}
