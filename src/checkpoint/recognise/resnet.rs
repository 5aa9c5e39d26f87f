//! ResNets, by their shapes.

use super::{Facts, Hints, Recognised, Refusal, Shapes, class_names, dims};
use crate::checkpoint::{BlockKind, ClassifierManifest, ManifestKind, ResnetManifest, Shortcut};

/// Planes of torchvision's stages.
const PLANES: [usize; 4] = [64, 128, 256, 512];
/// Most stages and blocks that are counted.
const MAX_BLOCKS: usize = 1000;
/// Mean and standard deviation per channel, of ImageNet (torchvision).
const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
/// Likewise of CIFAR-10, as robustness has them.
const CIFAR: [[f32; 3]; 2] = [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]];

/// A network of torchvision.
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

const KNOWN: [Known; 7] = [
    known("resnet18", "ResNet-18", BlockKind::Basic, [2, 2, 2, 2], 64),
    known("resnet34", "ResNet-34", BlockKind::Basic, [3, 4, 6, 3], 64),
    known("resnet50", "ResNet-50", BlockKind::Bottleneck, [3, 4, 6, 3], 64),
    known("resnet101", "ResNet-101", BlockKind::Bottleneck, [3, 4, 23, 3], 64),
    known("resnet152", "ResNet-152", BlockKind::Bottleneck, [3, 8, 36, 3], 64),
    known("wide_resnet50_2", "Wide-ResNet-50-2", BlockKind::Bottleneck, [3, 4, 6, 3], 128),
    known("wide_resnet101_2", "Wide-ResNet-101-2", BlockKind::Bottleneck, [3, 4, 23, 3], 128),
];

pub(super) fn recognise(tensors: &Shapes, hints: Hints) -> Result<Recognised, Refusal> {
    let mut notes = hints.notes.clone();
    let (resnet, channels) = architecture(tensors)?;
    let fc = dims::<2>(tensors, "fc.weight");
    let [count, _] = fc.ok_or_else(|| Refusal::Foreign("this ResNet has no last layer fc".to_owned()))?;
    let small = resnet.stem_kernel <= 3;
    let classes = class_names(count, small, &mut notes)?;
    let [mean, std] = normalisation(&hints, count, channels, small, &mut notes);
    let known = KNOWN.iter().find(|known| {
        let shape = (known.block, known.blocks.as_slice(), known.width_per_group);
        resnet.widths == PLANES && shape == (resnet.block, resnet.blocks.as_slice(), resnet.width_per_group)
    });
    // torchvision's own begin with a kernel of 7.
    let preset = known.filter(|_| resnet.stem_kernel == 7);
    let what = known.map_or_else(
        || format!("ResNet of {} blocks, {} planes", resnet.blocks.iter().sum::<usize>(), list(&resnet.widths)),
        |known| known.title.to_owned(),
    );
    let title = if small { format!("{what} for small pictures") } else { what };
    let resolution = if small { 32 } else { 224 };
    notes.push(format!("it takes pictures of any size; opened ones are made {resolution}×{resolution}"));
    let kind = ManifestKind::Classifier(ClassifierManifest { resnet, mean, std });
    let facts = Facts { resolution, channels, classes, kind, licence: "unknown" };
    let manifest = hints.manifest(title, "recognised by its shapes".to_owned(), facts);
    Ok(Recognised { manifest, preset: preset.map(|known| known.preset), notes })
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}

/// What the shapes say of the network, and its colour channels.
fn architecture(tensors: &Shapes) -> Result<(ResnetManifest, usize), Refusal> {
    let foreign = |what: &str| Refusal::Foreign(format!("this ResNet {what}"));
    let [_, channels, kernel, _] =
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
    if !has("bn1.weight") {
        return Err(foreign("has no batch norm bn1 behind its first convolution (a pre-activation ResNet)"));
    }
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
    };
    Ok((resnet, channels))
}

/// Mean and standard deviation per channel: the file's own, or those of the data set that the classes suggest.
fn normalisation(
    hints: &Hints,
    classes: usize,
    channels: usize,
    small: bool,
    notes: &mut Vec<String>,
) -> [Vec<f32>; 2] {
    match &hints.normalisation {
        Some(own) if own[0].len() == channels => return own.clone(),
        Some(own) => notes.push(format!(
            "it brings an input normalisation for {} channels instead of {channels}, which is not used",
            own[0].len()
        )),
        None => {}
    }
    let published = match (classes, small) {
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
