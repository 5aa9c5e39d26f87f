//! What a file without a manifest is, by the shapes of its tensors and the words of its name.
//!
//! Whatever shapes tell is read from them. The rest comes from the published checkpoint that the file looks like
//! (`presets`), from the configuration of a diffusers folder, or is assumed, and then a note says so.

mod inception;
mod resnet;
mod unet;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::diffusers::DiffusersConfig;
use super::{Card, Dialect, Manifest, ManifestKind, Opened, classes, manifest, manifest_beside, presets};
use crate::checkpoint::{CheckpointError, TensorInfo};

/// A manifest made from what a file shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognised {
    /// What the file is.
    pub manifest: Manifest,
    /// The published checkpoint that it looks like.
    pub preset: Option<&'static str>,
    /// What was assumed, one sentence each.
    pub notes: Vec<String>,
}

/// Most classes that are given names; no published network has more than 22,000.
const MAX_CLASSES: usize = 100_000;
/// Folders above a file whose names may say which checkpoint it is.
const MAX_FOLDERS: usize = 4;
/// Words that tell what a generator was trained as; a file's name without one gives way to its folder's.
const TELLING: [&str; 10] = ["edm", "cd", "ct", "cm", "consistency", "bedroom", "cat", "horse", "imagenet", "cifar"];

/// A part of a tensor's name by which a network of another kind is known, and what that is.
const FOREIGN: [(&str, &str); 11] = [
    ("aux_norm", "this is NVlabs' SongUNet (DDPM++ or NCSN++), not its ADM network"),
    ("emb_fourier", "this is a network of EDM2"),
    ("emb_noise", "this is a network of EDM2"),
    ("time_embed_s.", "this is a consistency trajectory model (CTM), which has a second time"),
    ("transformer_blocks", "this U-Net looks at texts (Stable Diffusion and its relatives)"),
    ("out.2.c_proj", "this is a noisy classifier of guided diffusion"),
    ("conv1.0.weight", "this ResNet begins with several convolutions"),
    ("denseblock1", "this is a DenseNet"),
    (
        "encoder.stages.0.layers.0.layer.0.convolution",
        "this is a network of transformers without classes, or no ResNet",
    ),
    ("cls_token", "this is a vision transformer"),
    ("patch_embed", "this is a vision transformer"),
];

/// What is known besides shapes.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints {
    /// File or folder, without the ending.
    pub(super) name: String,
    /// What the manifest calls the file.
    pub(super) file: String,
    /// Whose names the file uses.
    pub(super) dialect: Dialect,
    /// Words of the name.
    pub(super) words: BTreeSet<String>,
    /// Height and width of the pictures, where tensor names or a configuration tell.
    pub(super) resolution: Option<usize>,
    /// Mean and standard deviation that the file brings.
    pub(super) normalisation: Option<[Vec<f32>; 2]>,
    /// The configuration of a diffusers folder.
    pub(super) config: Option<DiffusersConfig>,
    /// What the folder of a classifier says.
    pub(super) card: Card,
    /// What is assumed whatever the shapes say, one sentence each.
    pub(super) notes: Vec<String>,
}

/// Why shapes are not enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A manifest could say it.
    Unclear(String),
    /// No manifest can help.
    Foreign(String),
    /// A tensor is missing, although others of its module are there.
    Incomplete { tensor: String, beside: String },
}

type Shapes = BTreeMap<String, TensorInfo>;

/// Says what an opened file is, without a manifest.
///
/// # Errors
/// [`CheckpointError::NoManifest`] when shapes do not tell enough, [`CheckpointError::Foreign`] for another kind of
/// network, [`CheckpointError`] when the file cannot be read.
pub fn recognise(opened: &Opened) -> Result<Recognised, CheckpointError> {
    let path = opened.checkpoint.path().to_owned();
    if !opened.reading.ambiguous.is_empty() {
        let (manifest, prefixes) = (manifest_beside(&path), opened.reading.ambiguous.clone());
        return Err(CheckpointError::Ambiguous { path, manifest, prefixes });
    }
    // Only a classifier has a use for it.
    let classifier = opened.dialect().is_resnet();
    let mut notes = Vec::new();
    if opened.reading.borrows {
        notes.push("its averages hold no statistics of batch norms, so those of the last weights are used".to_owned());
    }
    if let (true, Some(name)) = (classifier, &opened.reading.odd_normaliser) {
        notes.push(format!("{name:?} has not the shape or type of an input normalisation, so it is not used"));
    }
    if opened.dialect() == Dialect::Diffusers && opened.config.is_none() {
        notes.push(
            "there is no config.json beside it, so the time embedding (flip_sin_to_cos = true, freq_shift = 0) and \
             norm_eps = 1e-5 of OpenAI's U-Net are assumed: keep the file in the folder that diffusers wrote"
                .to_owned(),
        );
    }
    let hints = Hints {
        normalisation: if classifier { opened.normalisation()? } else { None },
        resolution: opened.reading.resolution,
        config: opened.config.clone(),
        card: opened.card.clone().unwrap_or_default(),
        notes,
        ..Hints::of_path(&manifest::absolute(&path), opened.dialect())
    };
    let recognised = from_shapes(opened.checkpoint.tensors(), hints).map_err(|refusal| match refusal {
        Refusal::Unclear(what) => {
            CheckpointError::NoManifest { manifest: manifest_beside(&path), path: path.clone(), what }
        }
        Refusal::Foreign(what) => CheckpointError::Foreign { path: path.clone(), what },
        Refusal::Incomplete { tensor, beside } => CheckpointError::Incomplete { path: path.clone(), tensor, beside },
    })?;
    match recognised.manifest.problem() {
        None => Ok(recognised),
        Some((what, expected)) => Err(CheckpointError::NoManifest {
            manifest: manifest_beside(&path),
            what: format!("its shapes mean {what}, but {expected}"),
            path,
        }),
    }
}

/// [`recognise`] on shapes alone.
pub(super) fn from_shapes(tensors: &Shapes, hints: Hints) -> Result<Recognised, Refusal> {
    if let Some((_, what)) = FOREIGN.iter().find(|(part, _)| tensors.keys().any(|name| name.contains(*part))) {
        return Err(Refusal::Foreign((*what).to_owned()));
    }
    if tensors.contains_key("time_embed.0.weight") {
        unet::recognise(tensors, hints)
    } else if tensors.contains_key("layer1.0.conv1.weight") {
        resnet::recognise(tensors, hints)
    } else if tensors.contains_key(inception::FIRST) {
        inception::recognise(tensors, hints)
    } else {
        let example = tensors.keys().next().map_or_else(String::new, |name| format!(" (for example {name:?})"));
        Err(Refusal::Foreign(format!("the tensors have the names of no known network{example}")))
    }
}

impl Hints {
    fn of_path(path: &Path, dialect: Dialect) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let file = text(path.file_name());
        // The folder of a U-Net inside a pipeline is always called so; the pipeline's name says more.
        let named = if file == "unet" { path.parent().unwrap_or(path) } else { path };
        let name = if named.is_dir() { text(named.file_name()) } else { text(named.file_stem()) };
        let mut words = words_of(&name);
        for folder in named.ancestors().skip(1).take(MAX_FOLDERS) {
            if TELLING.iter().any(|word| words.contains(*word)) {
                break;
            }
            words.extend(words_of(&text(folder.file_name())));
        }
        if dialect == Dialect::Nvlabs {
            words.insert(presets::NVLABS.to_owned());
        }
        let name = if name.is_empty() { "checkpoint".to_owned() } else { name };
        let file = if file.is_empty() { name.clone() } else { file };
        Self { name, file, dialect, words, ..Self::default() }
    }

    /// A manifest with what is the same for all.
    fn manifest(self, title: String, source: String, of: Facts) -> Manifest {
        let Facts { resolution, channels, classes, kind, licence } = of;
        Manifest {
            name: self.name,
            title,
            file: self.file,
            sha256: None,
            prefix: None,
            resolution,
            width: None,
            channels,
            classes,
            source,
            licence: licence.to_owned(),
            kind,
        }
    }
}

/// What a network's own recognition finds.
struct Facts {
    resolution: usize,
    channels: usize,
    classes: Vec<String>,
    kind: ManifestKind,
    licence: &'static str,
}

/// The words of a name in lower case, each also without the digits behind it: `cd_bedroom256.pt` has `cd` and `bedroom`.
fn words_of(name: &str) -> BTreeSet<String> {
    let name = name.to_lowercase();
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.flat_map(|word| [word, word.trim_end_matches(char::is_numeric)]).map(str::to_owned).collect()
}

/// The extents of a tensor, if it has so many.
fn dims<const N: usize>(tensors: &Shapes, name: &str) -> Option<[usize; N]> {
    tensors.get(name)?.shape.as_slice().try_into().ok()
}

/// Names for so many classes: a known list where the number or the file's name tells it.
fn class_names(count: usize, cifar: bool, notes: &mut Vec<String>) -> Result<Vec<String>, Refusal> {
    let word = match count {
        1000 => "imagenet",
        10 if cifar => "cifar10",
        _ => "",
    };
    if count > MAX_CLASSES {
        return Err(Refusal::Unclear(format!("the network has {count} classes")));
    }
    if word == "cifar10" {
        notes.push("its 10 classes are taken for CIFAR-10's: classes of a manifest say otherwise".to_owned());
    }
    Ok(classes::built_in(word).unwrap_or_else(|| {
        if count > 0 {
            notes.push(format!("the names of the {count} classes are not known, so they are numbered"));
        }
        classes::numbered(count)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Element;
    use crate::zoo::{
        AttentionOrder, BlockKind, DiffusionManifest, GeneratorManifest, NoiseSchedule, PreconditioningName,
        UnetManifest, expected,
    };

    fn unet(channels: usize, blocks: usize, mult: &[usize], attention: &[usize]) -> UnetManifest {
        UnetManifest {
            model_channels: channels,
            num_res_blocks: blocks,
            channel_mult: mult.to_vec(),
            attention_downsample: attention.to_vec(),
            num_head_channels: 64,
            num_heads: 0,
            use_scale_shift_norm: true,
            resblock_updown: true,
            attention_order: AttentionOrder::New,
            learn_sigma: false,
            patch_size: 1,
        }
    }

    /// What a file of this network would hold.
    fn shapes(unet: &UnetManifest, classes: usize) -> Shapes {
        let diffusion = DiffusionManifest::new(PreconditioningName::Consistency);
        let kind = ManifestKind::Generator(GeneratorManifest { unet: unet.clone(), diffusion });
        let classes = classes::numbered(classes);
        let facts = Facts { resolution: 64, channels: 3, classes, kind, licence: "none" };
        let manifest = Hints::default().manifest("test".to_owned(), "a test".to_owned(), facts);
        let info = |shape| TensorInfo { shape, element: Element::F32 };
        expected(&manifest).into_iter().map(|(name, shape)| (name, info(shape))).collect()
    }

    fn hints(name: &str) -> Hints {
        Hints::of_path(Path::new(name), Dialect::OpenAi)
    }

    fn generator(recognised: &Recognised) -> &GeneratorManifest {
        let ManifestKind::Generator(generator) = &recognised.manifest.kind else { panic!("{recognised:?}") };
        generator
    }

    #[test]
    fn published_checkpoints_are_known_by_shape_and_name() {
        use PreconditioningName::{Consistency, Discrete, Edm};
        let imagenet = unet(192, 3, &[1, 2, 3, 4], &[2, 4, 8]);
        let large = UnetManifest { learn_sigma: true, ..unet(256, 2, &[1, 1, 2, 2, 4, 4], &[8, 16, 32]) };
        let lsun = UnetManifest { learn_sigma: false, use_scale_shift_norm: false, ..large.clone() };
        let adm64 = UnetManifest { learn_sigma: true, ..imagenet.clone() };
        let adm128 = UnetManifest { learn_sigma: true, ..unet(256, 2, &[1, 1, 2, 3, 4], &[4, 8, 16]) };
        let cases = [
            (&imagenet, 1000, "edm_imagenet64_ema", Edm, 64, 1.382),
            (&imagenet, 1000, "cd_imagenet64_l2", Consistency, 64, 1.382),
            (&imagenet, 1000, "cd_imagenet64_lpips", Consistency, 64, 1.382),
            (&imagenet, 1000, "ct_imagenet64", Consistency, 64, 1.913),
            (&lsun, 0, "edm_bedroom256_ema", Edm, 256, 1.382),
            (&lsun, 0, "cd_bedroom256_lpips", Consistency, 256, 4.366),
            (&lsun, 0, "cd_bedroom256_l2", Consistency, 256, 3.520),
            (&lsun, 0, "ct_bedroom256", Consistency, 256, 3.991),
            (&lsun, 0, "ct_cat256", Consistency, 256, 5.249),
            (&adm64, 1000, "64x64_diffusion", Discrete, 64, 1.382),
            (&adm128, 1000, "128x128_diffusion", Discrete, 128, 1.382),
            (&large, 1000, "256x256_diffusion", Discrete, 256, 1.382),
            (&large, 0, "256x256_diffusion_uncond", Discrete, 256, 1.382),
            (&large, 0, "lsun_cat", Discrete, 256, 1.382),
        ];
        for (unet, classes, name, preconditioning, resolution, two_step) in cases {
            let recognised = from_shapes(&shapes(unet, classes), hints(&format!("{name}.pt"))).unwrap();
            assert_eq!(recognised.preset, Some(name));
            // The networks of guided diffusion, but for those of LSUN, are told by their shapes alone.
            let by_name = preconditioning != Discrete || name == "lsun_cat";
            let notes: Vec<&str> = recognised.notes.iter().map(String::as_str).collect();
            assert!(notes.len() == usize::from(by_name) && notes.iter().all(|n| n.contains("its name")), "{notes:?}");
            assert_eq!(recognised.manifest.problem(), None, "{name}");
            let manifest = &recognised.manifest;
            assert_eq!((manifest.resolution, manifest.classes.len()), (resolution, classes), "{name}");
            assert_eq!((manifest.name.as_str(), manifest.file.as_str()), (name, format!("{name}.pt").as_str()));
            let found = generator(&recognised);
            assert_eq!(found.diffusion.preconditioning, preconditioning, "{name}");
            assert!((found.diffusion.two_step_sigma - two_step).abs() < 1e-3, "{name}: {:?}", found.diffusion);
            let legacy = preconditioning == Discrete && resolution > 64;
            assert_eq!(found.unet.attention_order == AttentionOrder::Legacy, legacy, "{name}");
            assert_eq!(found.unet.heads(1024), if resolution == 128 { 4 } else { 16 }, "{name}");
            let cosine = found.diffusion.noise_schedule == NoiseSchedule::Cosine;
            assert_eq!(cosine, name == "64x64_diffusion", "{name}");
        }
    }

    #[test]
    fn a_folders_name_helps_where_the_files_does_not() {
        let shapes = shapes(&unet(192, 3, &[1, 2, 3, 4], &[2, 4, 8]), 1000);
        let of = |path: &str| from_shapes(&shapes, hints(path)).unwrap();
        let path = "models/openai--diffusers-ct_imagenet64/snapshots/0a1b/unet/diffusion_pytorch_model.safetensors";
        assert_eq!(of(path).preset, Some("ct_imagenet64"));
        assert_eq!(of("edm/cd_imagenet64_l2.pt").preset, Some("cd_imagenet64_l2"), "the file's own name comes first");
        let unnamed = of("weights.pt");
        assert_eq!((unnamed.preset, unnamed.manifest.resolution), (None, 64));
        assert!(unnamed.notes.iter().any(|note| note.contains("read as a consistency model")), "{:?}", unnamed.notes);
    }

    #[test]
    fn every_shape_of_the_network_is_read_back() {
        for (channels, blocks, mult, attention) in [
            (32, 1, vec![1], vec![]),
            (32, 2, vec![1, 2], vec![2]),
            (64, 1, vec![1, 1, 2], vec![1, 4]),
            (32, 3, vec![2, 2, 1], vec![]),
            (96, 2, vec![1, 2, 2, 2], vec![2, 4]),
        ] {
            for flags in 0..8 {
                let (film, updown, sigma) = (flags & 1 > 0, flags & 2 > 0, flags & 4 > 0);
                let wanted = UnetManifest {
                    use_scale_shift_norm: film,
                    // A single level changes no resolution, so nothing is to be seen.
                    resblock_updown: updown || mult.len() == 1,
                    learn_sigma: sigma,
                    ..unet(channels, blocks, &mult, &attention)
                };
                let recognised = from_shapes(&shapes(&wanted, 3), hints("mine.pt")).unwrap();
                let found = &generator(&recognised).unet;
                let heads = found.num_head_channels;
                assert_eq!(*found, UnetManifest { num_head_channels: heads, ..wanted });
                assert_eq!(recognised.manifest.problem(), None);
                assert_eq!(recognised.manifest.classes, ["class 0", "class 1", "class 2"]);
            }
        }
    }

    #[test]
    fn other_networks_are_named_and_refused() {
        let info = |shape: &[usize]| TensorInfo { shape: shape.to_vec(), element: Element::F32 };
        let refused = |tensors: &[(&str, &[usize])]| {
            let tensors = tensors.iter().map(|(name, shape)| ((*name).to_owned(), info(shape))).collect();
            from_shapes(&tensors, hints("mine.pt")).unwrap_err()
        };
        let foreign = |tensors: &[(&str, &[usize])], what: &str| match refused(tensors) {
            Refusal::Foreign(text) => assert!(text.contains(what), "{text}"),
            other => panic!("{other:?}"),
        };
        foreign(&[("a", &[2])], "for example \"a\"");
        foreign(&[("cls_token", &[1, 1, 384])], "vision transformer");
        foreign(&[("time_embed.0.weight", &[1024, 128])], "1024 values");
        foreign(&[("layer1.0.conv1.weight", &[64, 64, 3, 3])], "conv1");
        let resnext: &[(&str, &[usize])] = &[
            ("conv1.weight", &[64, 3, 7, 7]),
            ("fc.weight", &[1000, 2048]),
            ("layer1.0.conv1.weight", &[128, 64, 1, 1]),
            ("layer1.0.conv2.weight", &[128, 4, 3, 3]),
            ("layer1.0.conv3.weight", &[256, 128, 1, 1]),
        ];
        foreign(resnext, "ResNeXt");
        let normless: &[(&str, &[usize])] = &[
            ("conv1.weight", &[64, 3, 3, 3]),
            ("layer1.0.conv1.weight", &[64, 64, 3, 3]),
            ("layer1.0.conv2.weight", &[64, 64, 3, 3]),
            ("fc.weight", &[10, 64]),
        ];
        foreign(normless, "no batch norms");
        // A product of extents that is zero lets one of them be of any size.
        let enormous: &[(&str, &[usize])] = &[
            ("conv1.weight", &[64, 3, 7, 7]),
            ("bn1.weight", &[64]),
            ("fc.weight", &[10, 64]),
            ("layer1.0.conv1.weight", &[64, 64, 1, 1]),
            ("layer1.0.conv2.weight", &[usize::MAX, usize::MAX, 0, 0]),
            ("layer1.0.conv3.weight", &[256, 64, 1, 1]),
        ];
        let tensors = enormous.iter().map(|(name, shape)| ((*name).to_owned(), info(shape))).collect();
        let recognised = from_shapes(&tensors, hints("mine.pt")).unwrap();
        assert!(recognised.manifest.problem().is_some());
        for block in ["input_blocks.2", "input_blocks.5", "output_blocks.0", "output_blocks.4", "output_blocks.5"] {
            let mut broken = shapes(&unet(32, 2, &[1, 2], &[2]), 0);
            broken.retain(|name, _| !name.starts_with(&format!("{block}.")));
            let Err(Refusal::Foreign(text)) = from_shapes(&broken, hints("mine.pt")) else { panic!("{block}") };
            assert!(text.contains(&format!("lacks {block} ")), "{text}");
        }
        for (tensor, shape, what) in [
            ("output_blocks.3.0.out_layers.3.weight", vec![16, 16, 3, 3], "512×512"),
            ("input_blocks.0.0.weight", vec![32, 6, 3, 3], "takes 6 channels and gives 3"),
        ] {
            let mut other = shapes(&unet(32, 2, &[1, 2], &[2]), 0);
            other.insert(tensor.to_owned(), info(&shape));
            let Err(Refusal::Foreign(text)) = from_shapes(&other, hints("mine.pt")) else { panic!("{tensor}") };
            assert!(text.contains(what), "{text}");
        }
    }

    #[test]
    fn a_block_of_an_absurd_number_is_no_block() {
        let wanted = shapes(&unet(32, 1, &[1, 2], &[2]), 10);
        let mut tensors = wanted.clone();
        let odd = format!("output_blocks.{}.1.in_layers.0.weight", usize::MAX);
        tensors.insert(odd, TensorInfo { shape: vec![1], element: Element::F32 });
        let of = |tensors| from_shapes(tensors, hints("mine.pt")).unwrap().manifest;
        assert_eq!(of(&tensors), of(&wanted));
    }

    #[test]
    fn only_whole_words_tell_how_a_network_was_trained() {
        let tensors = shapes(&unet(32, 1, &[1, 2], &[2]), 10);
        for (path, wanted) in [
            ("friedman/weights.pt", None),
            ("inactive/weights.pt", None),
            ("edm2/weights.pt", Some(PreconditioningName::Edm)),
            ("mine/edm.pt", Some(PreconditioningName::Edm)),
            ("ct/weights.pt", Some(PreconditioningName::Consistency)),
        ] {
            let recognised = from_shapes(&tensors, hints(path)).unwrap();
            let by_name = recognised.notes.iter().any(|note| note.contains("only its name"));
            assert_eq!(by_name, wanted.is_some(), "{path}: {:?}", recognised.notes);
            let found = generator(&recognised).diffusion.preconditioning;
            assert_eq!(found, wanted.unwrap_or(PreconditioningName::Consistency), "{path}");
        }
    }

    #[test]
    fn the_shapes_of_a_resnet_tell_its_depth_width_and_stem() {
        let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
        for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
            let planes = 64 << stage;
            for block in 0..blocks {
                let name = format!("layer{}.{block}", stage + 1);
                tensors.push((format!("{name}.conv1.weight"), vec![2 * planes, 64, 1, 1]));
                tensors.push((format!("{name}.conv2.weight"), vec![2 * planes, 2 * planes, 3, 3]));
                tensors.push((format!("{name}.conv3.weight"), vec![4 * planes, 2 * planes, 1, 1]));
            }
        }
        tensors.push(("conv1.weight".to_owned(), vec![64, 3, 7, 7]));
        tensors.push(("bn1.weight".to_owned(), vec![64]));
        tensors.push(("fc.weight".to_owned(), vec![1000, 2048]));
        let info = |shape| TensorInfo { shape, element: Element::F32 };
        let tensors: Shapes = tensors.into_iter().map(|(name, shape)| (name, info(shape))).collect();
        let recognised = from_shapes(&tensors, hints("pgdwrn50_1000.pt")).unwrap();
        assert_eq!(recognised.preset, Some("wide_resnet50_2"));
        assert_eq!(recognised.manifest.title, "Wide-ResNet-50-2");
        assert_eq!((recognised.manifest.resolution, recognised.manifest.classes[0].as_str()), (224, "tench"));
        let ManifestKind::Classifier(found) = &recognised.manifest.kind else { panic!("{recognised:?}") };
        let resnet = &found.resnet;
        assert_eq!((resnet.block, resnet.width_per_group), (BlockKind::Bottleneck, 128));
        assert_eq!((&resnet.blocks, &resnet.widths), (&vec![3, 4, 6, 3], &vec![64, 128, 256, 512]));
        assert_eq!((resnet.stem_kernel, resnet.stem_stride, resnet.stem_pool), (7, 2, true));
        assert_eq!((found.mean[0], found.std[2]), (0.485, 0.225));
        let mut small = tensors;
        small.insert("conv1.weight".to_owned(), info(vec![64, 3, 3, 3]));
        assert_eq!(from_shapes(&small, hints("mine.pt")).unwrap().preset, None, "torchvision's has a kernel of 7");
    }
}
