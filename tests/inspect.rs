//! The networks of the literature under the names of several libraries: each is read under one naming, recognised without
//! a manifest, and described by `lapidary inspect`.

use std::path::{Path, PathBuf};

use lapidary::checkpoint::{Checkpoint, CheckpointError, Container};
use lapidary::cli::inspect;
use lapidary::session::host::Folders;
use lapidary::zoo::{
    self, BUNDLED, Dialect, Manifest, ManifestKind, PreconditioningName, bundled_manifest, expected, find, recognise,
};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use self::cache::cache;

#[path = "support/cache.rs"]
mod cache;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

type Tensor = (String, Vec<usize>, Vec<f32>);

fn write(path: &Path, tensors: &[Tensor]) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("as many bytes as the shape says"))
    });
    std::fs::write(path, safetensors::serialize(views, None).expect("distinct names")).expect("a writable folder");
}

/// Every canonical tensor of the two files is the same, bit for bit.
fn assert_same(found: &Checkpoint, wanted: &Checkpoint) {
    assert_eq!(found.tensors(), wanted.tensors());
    for name in wanted.tensors().keys() {
        let bits = |checkpoint: &Checkpoint| -> Vec<u32> {
            checkpoint.read(name).expect("it is there").into_iter().map(f32::to_bits).collect()
        };
        assert_eq!(bits(found), bits(wanted), "{name}");
    }
}

/// Modules of `imagenet64_shape_tiny` as OpenAI, NVlabs and diffusers call them.
const MODULES: [[&str; 3]; 24] = [
    ["time_embed.0", "map_layer0", "time_embedding.linear_1"],
    ["time_embed.2", "map_layer1", "time_embedding.linear_2"],
    ["label_emb", "map_label", "class_embedding"],
    ["input_blocks.0.0", "enc.32x32_conv", "conv_in"],
    ["input_blocks.1.0", "enc.32x32_block0", "down_blocks.0.resnets.0"],
    ["input_blocks.2.0", "enc.32x32_block1", "down_blocks.0.resnets.1"],
    ["input_blocks.3.0", "enc.16x16_down", "down_blocks.0.downsamplers.0"],
    ["input_blocks.4.0", "enc.16x16_block0", "down_blocks.1.resnets.0"],
    ["input_blocks.4.1", "enc.16x16_block0", "down_blocks.1.attentions.0"],
    ["input_blocks.5.0", "enc.16x16_block1", "down_blocks.1.resnets.1"],
    ["input_blocks.5.1", "enc.16x16_block1", "down_blocks.1.attentions.1"],
    ["middle_block.0", "dec.16x16_in0", "mid_block.resnets.0"],
    ["middle_block.1", "dec.16x16_in0", "mid_block.attentions.0"],
    ["middle_block.2", "dec.16x16_in1", "mid_block.resnets.1"],
    ["output_blocks.0", "dec.16x16_block0", "up_blocks.0.{}.0"],
    ["output_blocks.1", "dec.16x16_block1", "up_blocks.0.{}.1"],
    ["output_blocks.2.2", "dec.32x32_up", "up_blocks.0.upsamplers.0"],
    ["output_blocks.2.0", "dec.16x16_block2", "up_blocks.0.resnets.2"],
    ["output_blocks.2.1", "dec.16x16_block2", "up_blocks.0.attentions.2"],
    ["output_blocks.3.0", "dec.32x32_block0", "up_blocks.1.resnets.0"],
    ["output_blocks.4.0", "dec.32x32_block1", "up_blocks.1.resnets.1"],
    ["output_blocks.5.0", "dec.32x32_block2", "up_blocks.1.resnets.2"],
    ["out.0", "out_norm", "conv_norm_out"],
    ["out.2", "out_conv", "conv_out"],
];

/// Their parts.
const PARTS: [[&str; 3]; 9] = [
    ["in_layers.0", "norm0", "norm1"],
    ["in_layers.2", "conv0", "conv1"],
    ["emb_layers.1", "affine", "time_emb_proj"],
    ["out_layers.0", "norm1", "norm2"],
    ["out_layers.3", "conv1", "conv2"],
    ["skip_connection", "skip", "conv_shortcut"],
    ["norm", "norm2", "group_norm"],
    ["qkv", "qkv", "qkv"],
    ["proj_out", "proj", "to_out.0"],
];

/// A canonical name in the language of column 1 (NVlabs) or 2 (diffusers).
fn translate(name: &str, column: usize) -> String {
    let (module, leaf) = name.rsplit_once('.').expect("a module and weight or bias");
    let row = MODULES.iter().find(|row| module == row[0] || module.starts_with(&format!("{}.", row[0])));
    let row = row.unwrap_or_else(|| panic!("{name}"));
    let mut rest = module[row[0].len()..].trim_start_matches('.');
    let mut to = row[column].to_owned();
    // Two rows stand for the residual block and the attention of an output block.
    if row[0].split('.').count() == 2 && row[0].starts_with("output_blocks") {
        to = to.replace("{}", if rest.starts_with('0') { "resnets" } else { "attentions" });
        rest = &rest[2..];
    }
    let part = PARTS.iter().find(|part| part[0] == rest).map_or("", |part| part[column]);
    [to.as_str(), part, leaf].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(".")
}

fn read_all(checkpoint: &Checkpoint) -> Vec<Tensor> {
    let read = |(name, info): (&String, &lapidary::checkpoint::TensorInfo)| {
        (name.clone(), info.shape.clone(), checkpoint.read(name).expect("it is there"))
    };
    checkpoint.tensors().iter().map(read).collect()
}

#[test]
fn an_export_of_nvlabs_edm_reads_like_openais_file() {
    let folder = tempfile::tempdir().unwrap();
    let original = zoo::open(&golden("consistency_models/imagenet64_shape_tiny.pt")).unwrap().checkpoint;
    let mut tensors = Vec::new();
    for (name, shape, values) in read_all(&original) {
        let fan = values.len() / shape[0];
        let (shape, values) = if name == "label_emb.weight" {
            // One-hot vectors times a linear layer: [K, emb] becomes [emb, K].
            let transposed = (0..values.len()).map(|i| values[(i % shape[0]) * fan + i / shape[0]]).collect();
            (vec![shape[1], shape[0]], transposed)
        } else if name.contains(".qkv.") {
            // Rows (three, channel) become (channel, three).
            let channels = shape[0] / 3;
            let row = |i: usize| (i % 3) * channels + i / 3;
            let rows = (0..shape[0]).flat_map(|i| values[row(i) * fan..(row(i) + 1) * fan].to_vec()).collect();
            (shape, rows)
        } else {
            (shape, values)
        };
        tensors.push((format!("model.{}", translate(&name, 1)), shape, values));
    }
    tensors.push(("model.enc.16x16_down.conv0.resample_filter".to_owned(), vec![1, 1, 2, 2], vec![0.25; 4]));
    let path = folder.path().join("edm-cond-adm.safetensors");
    write(&path, &tensors);
    let export = zoo::open(&path).unwrap();
    assert_eq!((export.dialect(), export.prefix(), export.set_aside().len()), (Dialect::Nvlabs, "model.", 1));
    assert_same(&export.checkpoint, &original);
    let manifest = recognise(&export).unwrap().manifest;
    let ManifestKind::Generator(spec) = &manifest.kind else { panic!("{manifest:?}") };
    assert_eq!((spec.diffusion.preconditioning, spec.diffusion.time_scale), (PreconditioningName::Edm, 1.0));
    assert_eq!((manifest.resolution, manifest.classes.len()), (32, 10), "the names tell the resolution");
}

/// Writes `imagenet64_shape_tiny` as a pipeline of diffusers, with these changes to the configuration of its U-Net.
fn pipeline(folder: &Path, original: &Checkpoint, changes: &[(&str, Value)]) {
    let (unet, scheduler) = (folder.join("unet"), folder.join("scheduler"));
    std::fs::create_dir_all(&unet).expect("it can be written");
    std::fs::create_dir_all(&scheduler).expect("it can be written");
    let mut tensors = Vec::new();
    for (name, mut shape, values) in read_all(original) {
        let translated = translate(&name, 2);
        let attention = name.contains(".qkv.") || name.contains(".proj_out.");
        // Linear layers in place of 1x1 convolutions.
        shape.truncate(if attention { 2 } else { 4 });
        if name.contains(".qkv.") {
            shape[0] /= 3;
            for (part, values) in ["to_q", "to_k", "to_v"].into_iter().zip(values.chunks(values.len() / 3)) {
                tensors.push((translated.replace("qkv", part), shape.clone(), values.to_vec()));
            }
        } else {
            tensors.push((translated, shape, values));
        }
    }
    write(&unet.join("diffusion_pytorch_model.safetensors"), &tensors);
    let mut config = json!({
        "_class_name": "UNet2DModel", "act_fn": "silu", "attention_head_dim": 32, "attn_norm_num_groups": 32,
        "block_out_channels": [32, 64], "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"],
        "norm_eps": 1e-5, "num_class_embeds": 10, "resnet_time_scale_shift": "scale_shift", "sample_size": 32,
        "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    });
    for (key, value) in changes {
        config[*key] = value.clone();
    }
    std::fs::write(unet.join("config.json"), config.to_string()).expect("it can be written");
    let cm = json!({ "_class_name": "CMStochasticIterativeScheduler", "num_train_timesteps": 40, "sigma_max": 75.0 });
    std::fs::write(scheduler.join("scheduler_config.json"), cm.to_string()).expect("it can be written");
    std::fs::write(folder.join("model_index.json"), "{\"unet\": [\"diffusers\", \"UNet2DModel\"]}")
        .expect("it can be written");
}

#[test]
fn a_pipeline_of_diffusers_reads_like_openais_file() {
    let folder = tempfile::tempdir().unwrap();
    let original = zoo::open(&golden("consistency_models/imagenet64_shape_tiny.pt")).unwrap().checkpoint;
    pipeline(folder.path(), &original, &[]);
    let unet = folder.path().join("unet");
    let weights = unet.join("diffusion_pytorch_model.safetensors");
    for path in [folder.path(), unet.as_path(), weights.as_path()] {
        let opened = zoo::open(path).unwrap();
        assert_eq!(opened.dialect(), Dialect::Diffusers);
        assert_same(&opened.checkpoint, &original);
        let recognised = recognise(&opened).unwrap();
        let ManifestKind::Generator(spec) = &recognised.manifest.kind else { panic!("{recognised:?}") };
        assert_eq!(
            (recognised.manifest.resolution, spec.unet.num_head_channels),
            (32, 32),
            "the configuration says it"
        );
        assert_eq!(
            (spec.diffusion.preconditioning, spec.diffusion.sigma_max),
            (PreconditioningName::Consistency, 75.0)
        );
    }
    let fixture = zoo::open(&golden("diffusers/tiny-consistency")).unwrap();
    let manifest = recognise(&fixture).unwrap().manifest;
    let shapes: Vec<_> =
        fixture.checkpoint.tensors().iter().map(|(name, info)| (name.clone(), info.shape.clone())).collect();
    let mut wanted = expected(&manifest);
    wanted.sort();
    assert_eq!(shapes, wanted, "every tensor that diffusers wrote has its place");
}

#[test]
fn a_pipeline_of_another_network_is_refused_by_what_differs() {
    let original = zoo::open(&golden("consistency_models/imagenet64_shape_tiny.pt")).unwrap().checkpoint;
    for (key, value, advice) in [
        ("_class_name", json!("UNet2DConditionModel"), "OpenAI's U-Net has \"UNet2DModel\""),
        ("norm_eps", json!(1e-6), "norm_eps = 1e-6, but OpenAI's U-Net has"),
        ("flip_sin_to_cos", json!(false), "flip_sin_to_cos = false"),
        ("down_block_types", json!(["SkipDownBlock2D"]), "a block \"SkipDownBlock2D\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        pipeline(folder.path(), &original, &[(key, value)]);
        let error = zoo::open(folder.path()).unwrap_err();
        assert!(matches!(error, CheckpointError::Configuration { .. }), "{key}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(advice) && text.contains("config.json"), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    pipeline(folder.path(), &original, &[]);
    let unet = folder.path().join("unet");
    std::fs::write(folder.path().join("model_index.json"), "{\"vqvae\": [\"diffusers\", \"VQModel\"]}").unwrap();
    assert!(matches!(zoo::open(folder.path()), Err(CheckpointError::Configuration { .. })), "codes are no pixels");
    std::fs::remove_file(folder.path().join("model_index.json")).unwrap();
    let weights = unet.join("diffusion_pytorch_model.safetensors");
    for index in ["safetensors.index.json", "safetensors.index.fp16.json", "bin.index.json"] {
        let index = unet.join(format!("diffusion_pytorch_model.{index}"));
        std::fs::write(&index, "{}").unwrap();
        zoo::open(&unet).expect("the whole file is there, whatever was there before");
        let aside = folder.path().join("aside");
        std::fs::rename(&weights, &aside).unwrap();
        assert!(matches!(zoo::open(&unet), Err(CheckpointError::NoWeights { .. })), "{}", index.display());
        std::fs::rename(&aside, &weights).unwrap();
        std::fs::remove_file(&index).unwrap();
    }
    let shard = unet.join("diffusion_pytorch_model-00001-of-00002.safetensors");
    std::fs::copy(&weights, &shard).unwrap();
    assert!(matches!(zoo::open(&shard), Err(CheckpointError::Sharded { .. })));
    std::fs::rename(&shard, unet.join("diffusion_pytorch_model-00001-of-00001.safetensors")).unwrap();
    zoo::open(&unet.join("diffusion_pytorch_model-00001-of-00001.safetensors")).expect("one of one is all");
    // Without its configuration something is assumed, and that is said.
    let alone = folder.path().join("alone.safetensors");
    std::fs::rename(&weights, &alone).unwrap();
    let notes = recognise(&zoo::open(&alone).unwrap()).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("no config.json")), "{notes:?}");
    assert!(matches!(zoo::open(&unet), Err(CheckpointError::NoWeights { .. })));
}

#[test]
fn what_a_configuration_says_oddly_is_named() {
    let original = zoo::open(&golden("consistency_models/imagenet64_shape_tiny.pt")).unwrap().checkpoint;
    let folder = tempfile::tempdir().unwrap();
    pipeline(folder.path(), &original, &[("attention_head_dim", json!([5, 10]))]);
    let text = zoo::open(folder.path()).unwrap_err().to_string();
    assert!(text.contains("attention_head_dim = [5,10]"), "{text}");
    pipeline(folder.path(), &original, &[]);
    let ddpm = json!({ "_class_name": "DDPMScheduler", "beta_schedule": "linear", "beta_start": 0.0015 });
    std::fs::write(folder.path().join("scheduler/scheduler_config.json"), ddpm.to_string()).unwrap();
    let text = zoo::open(folder.path()).unwrap_err().to_string();
    assert!(text.contains("from 0.0015 to 0.02"), "{text}");
}

#[test]
fn a_tensor_beside_the_network_never_takes_the_place_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (_, tensors) = small_resnet();
    let plain = folder.path().join("plain.safetensors");
    write(&plain, &tensors);
    let mut shadowed: Vec<Tensor> =
        tensors.into_iter().map(|(name, shape, values)| (format!("model.{name}"), shape, values)).collect();
    shadowed.push(("fc.bias".to_owned(), vec![1], vec![7.0]));
    shadowed.push(("bn1.extra".to_owned(), vec![1], vec![7.0]));
    shadowed.retain(|(name, ..)| name != "model.bn1.bias");
    shadowed.push(("bn1.bias".to_owned(), vec![8], vec![7.0; 8]));
    let path = folder.path().join("shadowed.safetensors");
    write(&path, &shadowed);
    let (plain, shadowed) = (zoo::open(&plain).unwrap().checkpoint, zoo::open(&path).unwrap().checkpoint);
    assert_eq!(shadowed.read("fc.bias").unwrap(), plain.read("fc.bias").unwrap());
    assert!(shadowed.read("bn1.bias").is_err(), "the network has none");
    assert!(shadowed.tensors().keys().any(|name| name.starts_with("bn1.extra (")), "it is listed all the same");
}

#[test]
fn an_input_normalisation_is_read_in_every_form_and_an_impossible_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (_, tensors) = small_resnet();
    let cases: [(&str, &str, &str, &[usize], bool); 5] = [
        ("model.", "normalize.mean", "normalize.std", &[1, 3, 1, 1], true),
        ("model.", "normalizer.new_mean", "normalizer.new_std", &[3], true),
        ("1.", "normalizer.new_mean", "normalizer.new_std", &[3, 1, 1], true),
        ("model.", "normalizer.new_mean", "normalizer.new_std", &[64], false),
        ("model.", "normalizer.new_mean", "normalizer.new_std", &[3, 2, 2], false),
    ];
    for (i, (prefix, mean, std, shape, used)) in cases.into_iter().enumerate() {
        let prefixed = |(name, shape, values): &Tensor| (format!("{prefix}{name}"), shape.clone(), values.clone());
        let mut tensors: Vec<Tensor> = tensors.iter().map(prefixed).collect();
        for name in [mean, std] {
            tensors.push((name.to_owned(), shape.to_vec(), vec![0.25; shape.iter().product()]));
        }
        let path = folder.path().join(format!("{i}.safetensors"));
        write(&path, &tensors);
        let opened = zoo::open(&path).unwrap();
        assert_eq!(opened.prefix(), prefix);
        let recognised = recognise(&opened).unwrap();
        let ManifestKind::Classifier(spec) = &recognised.manifest.kind else { panic!("{recognised:?}") };
        assert_eq!(spec.std == [0.25; 3], used, "{shape:?}: {recognised:?}");
        assert_eq!(recognised.notes.iter().any(|note| note.contains("normalizer.new_mean")), !used, "{recognised:?}");
    }
}

/// A ResNet of basic blocks for small pictures, with values that differ everywhere.
fn small_resnet() -> (Manifest, Vec<Tensor>) {
    let text = "name = \"r\"\ntitle = \"r\"\nfile = \"r\"\nresolution = 32\nclasses = \"cifar10\"\nsource = \"\"\n\
                licence = \"\"\nkind = \"classifier\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n\
                [resnet]\nblocks = [2, 1]\nwidths = [8, 16]\nshortcut = \"conv\"\nstem_kernel = 3\nstem_stride = 1\n";
    let manifest = Manifest::parse(text, Path::new("r.toml")).expect("the manifest is valid");
    let mut first = 0;
    let fill = |(name, shape): (String, Vec<usize>)| {
        let count: usize = shape.iter().product();
        let values = (first..first + count).map(|number| number as f32).collect();
        first += count;
        (name, shape, values)
    };
    let tensors = expected(&manifest).into_iter().map(fill).collect();
    (manifest, tensors)
}

#[test]
fn resnets_of_robustness_jm_and_cifar_read_like_torchvisions() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, tensors) = small_resnet();
    let plain = folder.path().join("plain.safetensors");
    write(&plain, &tensors);
    let plain = zoo::open(&plain).unwrap();
    assert_eq!(plain.dialect(), Dialect::Torchvision);
    let renamed = |change: &dyn Fn(&str) -> String, more: &[(&str, &[usize])]| -> Vec<Tensor> {
        let more = more.iter().map(|(name, shape)| {
            let values = (0..shape.iter().product()).map(|i: usize| 0.25 + i as f32 / 8.0).collect();
            ((*name).to_owned(), shape.to_vec(), values)
        });
        tensors.iter().map(|(name, shape, values)| (change(name), shape.clone(), values.clone())).chain(more).collect()
    };
    let robustness: &[(&str, &[usize])] = &[
        ("model.module.attacker.model.layer1.0.conv1.weight", &[8, 8, 3, 3]),
        ("model.module.attacker.normalize.new_mean", &[3, 1, 1]),
        ("model.module.normalizer.new_mean", &[3, 1, 1]),
        ("model.module.normalizer.new_std", &[3, 1, 1]),
        ("optimizer.state.0.momentum_buffer", &[8]),
    ];
    let cifar = |name: &str| format!("module.{}", name.replace("downsample", "shortcut").replace("fc.", "linear."));
    let cases = [
        ("robustness", renamed(&|name| format!("model.module.model.{name}"), robustness), "model.module.model.", 5),
        ("jm", renamed(&|name| format!("model.{name}"), &[("dummy", &[])]), "model.", 1),
        ("ddp", renamed(&|name| format!("module.{name}"), &[]), "module.", 0),
        ("cifar", renamed(&cifar, &[]), "module.", 0),
    ];
    for (name, tensors, prefix, aside) in cases {
        let path = folder.path().join(name).with_extension("safetensors");
        write(&path, &tensors);
        let opened = zoo::open(&path).unwrap();
        assert_eq!((opened.prefix(), opened.set_aside().len()), (prefix, aside), "{name}");
        assert_eq!(opened.dialect() == Dialect::Cifar, name == "cifar");
        assert_same(&opened.checkpoint, &plain.checkpoint);
        let (found, _) = find(path.to_str().unwrap()).unwrap();
        let ManifestKind::Classifier(spec) = &found.kind else { panic!("{found:?}") };
        let ManifestKind::Classifier(wanted) = &manifest.kind else { panic!("{manifest:?}") };
        assert_eq!((&spec.resnet, found.classes[9].as_str()), (&wanted.resnet, "truck"));
        let normalised = if name == "robustness" { vec![0.25, 0.375, 0.5] } else { vec![0.4914, 0.4822, 0.4465] };
        assert_eq!(spec.mean, normalised, "{name}");
    }
}

#[test]
fn a_wide_resnet_of_robustbench_is_read_and_what_it_does_not_use_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"r\"\ntitle = \"r\"\nfile = \"r\"\nresolution = 32\nclasses = \"cifar10\"\nsource = \"\"\n\
                licence = \"\"\nkind = \"classifier\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n\
                [resnet]\nblocks = [1, 1, 1]\nwidths = [16, 32, 64]\nshortcut = \"conv\"\nstem_kernel = 3\nstem_stride = 1\n\
                preactivation = { stem_width = 8 }\n";
    let manifest = Manifest::parse(text, Path::new("r.toml")).unwrap();
    let stored = |name: &str| match name.strip_prefix("layer") {
        Some(rest) => format!("block{}", rest.replacen('.', ".layer.", 1).replace("downsample.0", "convShortcut")),
        None => name.to_owned(),
    };
    let mut tensors: Vec<Tensor> = Vec::new();
    for (name, shape) in expected(&manifest) {
        let name = format!("module.{}", stored(&name));
        let values = vec![0.5; shape.iter().product()];
        if let Some(rest) = name.strip_prefix("module.block1") {
            tensors.push((format!("module.sub_block1{rest}"), shape.clone(), values.clone()));
        }
        tensors.push((name, shape, values));
    }
    tensors.push(("module.mu".to_owned(), vec![1, 3, 1, 1], vec![0.25; 3]));
    tensors.push(("module.sigma".to_owned(), vec![1, 3, 1, 1], vec![0.75; 3]));
    let path = folder.path().join("trades.safetensors");
    write(&path, &tensors);
    let opened = zoo::open(&path).unwrap();
    assert_eq!((opened.dialect(), opened.prefix()), (Dialect::WideResnet, "module."));
    assert_eq!(opened.set_aside(), ["module.mu", "module.sigma"]);
    let ManifestKind::Classifier(spec) = recognise(&opened).unwrap().manifest.kind else { panic!("a classifier") };
    let ManifestKind::Classifier(wanted) = &manifest.kind else { panic!("a classifier") };
    assert_eq!((&spec.resnet, spec.mean, spec.std), (&wanted.resnet, vec![0.25; 3], vec![0.75; 3]));
    let (text, error) = report(&path, false);
    assert_eq!(error, None, "{text}");
    assert!(text.contains("architecture    pre-activation ResNet, 1-1-1 basic blocks, 16-32-64 planes"), "{text}");
    assert!(text.contains("RobustBench Wide-ResNet") && text.contains("sub_block1.layer.0.bn1.bias"), "{text}");
}

#[test]
fn golden_networks_of_openai_are_recognised_as_their_json_says() {
    for name in ["imagenet64_shape_tiny", "lsun_shape_tiny"] {
        let text = std::fs::read_to_string(golden(&format!("consistency_models/{name}.json"))).unwrap();
        let wanted: Value = serde_json::from_str(&text).unwrap();
        let opened = zoo::open(&golden(&format!("consistency_models/{name}.pt"))).unwrap();
        assert_eq!((opened.dialect(), opened.checkpoint.container()), (Dialect::OpenAi, Container::PytorchZip));
        let recognised = recognise(&opened).unwrap();
        let manifest = &recognised.manifest;
        let ManifestKind::Generator(spec) = &manifest.kind else { panic!("{recognised:?}") };
        let numbers = |key: &str| -> Vec<usize> {
            wanted[key].as_str().unwrap().split(',').map(|number| number.parse().unwrap()).collect()
        };
        assert_eq!(spec.unet.model_channels as u64, wanted["num_channels"]);
        assert_eq!(spec.unet.num_res_blocks as u64, wanted["num_res_blocks"]);
        assert_eq!(spec.unet.channel_mult, numbers("channel_mult"));
        // The command line names resolutions; some of them are below the lowest level.
        let lowest = manifest.resolution >> (spec.unet.channel_mult.len() - 1);
        let sides: Vec<usize> =
            spec.unet.attention_downsample.iter().map(|factor| manifest.resolution / factor).collect();
        let named: Vec<usize> = numbers("attention_resolutions").into_iter().filter(|side| *side >= lowest).collect();
        assert_eq!(sides, named);
        assert_eq!(spec.unet.use_scale_shift_norm, wanted["use_scale_shift_norm"]);
        assert_eq!(spec.unet.resblock_updown, wanted["resblock_updown"]);
        assert_eq!(manifest.resolution as u64, wanted["image_size"]);
        assert_eq!(manifest.classes.len() as u64, wanted["num_classes"].as_u64().unwrap_or(0));
        assert!(!recognised.notes.is_empty(), "what was assumed is said");
    }
}

fn report(path: &Path, json: bool) -> (String, Option<String>) {
    let folders = Folders { cache: cache(), autosave: cache() };
    let mut out = Vec::new();
    let error = inspect::run(path, json, &folders, &mut out).err().map(|error| error.to_string());
    (String::from_utf8(out).expect("the report is text"), error)
}

#[test]
fn inspect_says_what_a_file_is_and_how_to_say_otherwise() {
    let (text, error) = report(&golden("consistency_models/imagenet64_shape_tiny.pt"), false);
    assert_eq!(error, None);
    for part in [
        "PyTorch zip, 4.5 MiB",
        "OpenAI U-Net, 32 channels × (1, 2), 2 blocks per level, attention at 16",
        "201 (f32 201)",
        "missing         none",
        "unused          none",
        "opens           yes",
        "imagenet64_shape_tiny.toml:",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    let (_, toml) = text.split_once("\n\n").expect("a manifest behind an empty line");
    let manifest = Manifest::parse(toml, Path::new("copied.toml")).unwrap();
    assert_eq!((manifest.role(), manifest.sha256.map(|hash| hash.len())), ("generator", Some(64)));

    let (bundled, error) = report(Path::new("gtsrb12-joint"), true);
    assert_eq!(error, None);
    let facts: Value = serde_json::from_str(&bundled).unwrap();
    assert_eq!(facts["network"]["manifest"]["name"], "gtsrb12-joint");
    assert_eq!((&facts["network"]["missing"], &facts["network"]["unused"]), (&json!([]), &json!([])));
    assert_eq!(facts["file"]["format"], "safetensors");
}

#[test]
fn a_reader_of_json_gets_json_also_when_there_is_nothing() {
    let (text, error) = report(Path::new("/no/such/file.pt"), true);
    let facts: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&facts["opens"], facts["refused"][0].as_str()), (&json!(false), error.as_deref()));
    assert!(facts["file"].is_null() && facts["network"].is_null(), "{facts}");
    assert_eq!(report(Path::new("/no/such/file.pt"), false).0, "", "lines are for eyes: there the error says it");
}

#[test]
fn a_size_that_a_classifier_cannot_halve_is_refused_with_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = bundled_manifest(&BUNDLED[1]);
    (manifest.resolution, manifest.sha256) = (33, None);
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, toml::to_string(&manifest).unwrap()).unwrap();
    let (_, error) = report(&path, false);
    assert!(error.unwrap().contains("resolution = 33 for a network that needs multiples of 4"));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pipe.pt", "pipe.toml", "pipe.safetensors"] {
        let pipe = folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (_, error) = report(&pipe, false);
        assert!(error.unwrap().starts_with("this is a pipe, not a file"), "{name}");
        std::fs::remove_file(&pipe).unwrap();
    }
    let (_, error) = report(Path::new("/dev/zero"), false);
    assert!(error.unwrap().starts_with("this is a device, not a file"));
}

#[test]
fn inspect_counts_what_does_not_fit_and_says_what_it_knows_of_a_foreign_file() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut tensors) = small_resnet();
    tensors.retain(|(name, ..)| name != "layer2.0.bn2.bias");
    tensors.push(("extra.weight".to_owned(), vec![1], vec![0.0]));
    let row = tensors.iter_mut().find(|(name, ..)| name == "bn1.weight").unwrap();
    (row.1, row.2) = (vec![2, 4], vec![0.0; 8]);
    let path = folder.path().join("mine.safetensors");
    write(&path, &tensors);
    let (text, error) = report(&path, false);
    assert!(error.is_some_and(|error| error.contains("correct the manifest, or write one")));
    for part in
        ["1: layer2.0.bn2.bias", "1: extra.weight", "1: bn1.weight is [2, 4] instead of [8]", "opens           no: "]
    {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    let (text, error) = report(&path, true);
    let facts: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&facts["opens"], facts["refused"][0].as_str()), (&json!(false), error.as_deref()));

    // A manifest beside it with another hash.
    let (mut manifest, tensors) = small_resnet();
    write(&path, &tensors);
    assert_eq!(report(&path, false).1, None);
    let beside = path.with_extension("toml");
    manifest.sha256 = Some("0".repeat(64));
    std::fs::write(&beside, toml::to_string(&manifest).unwrap()).unwrap();
    let (text, error) = report(&path, false);
    assert!(text.contains("opens           no: ") && error.is_some_and(|error| error.contains("SHA-256")), "{text}");
    // The hash is told first: broken values are no wonder in another file.
    let mut broken = tensors.clone();
    broken[0].2[0] = f32::NAN;
    write(&path, &broken);
    assert!(report(&path, false).1.is_some_and(|error| error.contains("SHA-256")));
    std::fs::remove_file(&beside).unwrap();
    assert!(report(&path, false).1.is_some_and(|error| error.contains("cannot be (not a number")));

    // Integers where the network needs floats.
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let dtype = if name == "fc.bias" { Dtype::I32 } else { Dtype::F32 };
        (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    let (text, error) = report(&path, false);
    assert!(text.contains("wrong type      1: fc.bias is i32"), "{text}");
    assert!(error.is_some_and(|error| error.contains("does not hold floating-point numbers")));

    write(&path, &[("blocks.0.cls_token".to_owned(), vec![1], vec![0.0])]);
    let (text, error) = report(&path, false);
    assert!(text.contains("SHA-256") && !text.contains("architecture"), "{text}");
    assert!(error.is_some_and(|error| error.contains("vision transformer")));
}
