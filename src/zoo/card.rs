//! What the folder of a classifier of Hugging Face says beyond its weights: class names, normalisation, size of the pictures.
//!
//! # Source
//! huggingface/transformers, `ResNetConfig` and `preprocessor_config.json`; huggingface/pytorch-image-models (timm), the
//! `config.json` of its hub. A network that differs from torchvision's in a way that shapes do not show is refused here.

use std::path::Path;

use serde_json::{Value, json};

use super::classes;
use super::config::{read_json, refusal, whole};
use crate::checkpoint::CheckpointError;

/// What is said; whatever is not is left to shapes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Card {
    /// Names of the classes, each different; empty when they have none.
    pub(super) labels: Vec<String>,
    /// Mean and standard deviation per channel.
    pub(super) normalisation: Option<[Vec<f32>; 2]>,
    /// Height and width of the pictures.
    pub(super) size: Option<usize>,
}

/// Reads `config.json` and, if it is there, `preprocessor_config.json`.
///
/// # Errors
/// [`CheckpointError`] when one cannot be read, or tells of another network.
pub(super) fn read(folder: &Path) -> Result<Card, CheckpointError> {
    let path = folder.join("config.json");
    let config = read_json(&path)?;
    check(&config, &path)?;
    let timm = &config["pretrained_cfg"];
    let preprocessor = folder.join("preprocessor_config.json");
    let preprocessor = if preprocessor.is_file() { read_json(&preprocessor)? } else { Value::Null };
    let as_it_is = preprocessor["do_normalize"] == json!(false);
    let normalisation = if as_it_is {
        Some([vec![0.0; 3], vec![1.0; 3]])
    } else {
        let own = numbers(&preprocessor["image_mean"]).zip(numbers(&preprocessor["image_std"]));
        own.or_else(|| numbers(&timm["mean"]).zip(numbers(&timm["std"]))).map(|(mean, std)| [mean, std])
    };
    let size = &preprocessor["size"];
    let sizes = [size, &size["shortest_edge"], &size["height"], &timm["input_size"][1]];
    let size = sizes.into_iter().find_map(whole);
    Ok(Card { labels: labels(&config), normalisation, size })
}

/// Refuses what has the shapes of torchvision's ResNets and computes something else.
fn check(config: &Value, path: &Path) -> Result<(), CheckpointError> {
    let expected = "a classifier must be a ResNet as torchvision has it";
    let accepted = [
        ("model_type", json!("resnet")),
        ("hidden_act", json!("relu")),
        ("downsample_in_first_stage", json!(false)),
        ("downsample_in_bottleneck", json!(false)),
    ];
    let odd = accepted.iter().find(|(key, value)| config.get(*key).is_some_and(|found| found != value));
    if let Some((key, _)) = odd {
        return Err(refusal(path, format!("{key} = {}", config[*key]), expected));
    }
    // timm has many relatives of them, some of which differ in what they pool only.
    if let Some(name) = config["architecture"].as_str() {
        let plain = name.split('.').next().unwrap_or_default();
        let plain = plain.strip_prefix("tv_").or_else(|| plain.strip_prefix("wide_")).unwrap_or(plain);
        let sizes = plain.strip_prefix("resnet").unwrap_or_default();
        if sizes.is_empty() || !sizes.chars().all(|c| c.is_ascii_digit() || c == '_') {
            return Err(refusal(path, format!("architecture = {name:?}"), expected));
        }
    }
    Ok(())
}

/// A list of numbers.
fn numbers(value: &Value) -> Option<Vec<f32>> {
    value.as_array()?.iter().map(|value| value.as_f64().map(|value| value as f32)).collect()
}

/// Class names of transformers (`id2label`) or timm (`label_names`, perhaps described); of several words for one thing the
/// first. What is called by its number only has no name.
fn labels(config: &Value) -> Vec<String> {
    let by_number = |map: &Value| -> Option<Vec<String>> {
        (0..map.as_object()?.len()).map(|class| Some(map[class.to_string()].as_str()?.to_owned())).collect()
    };
    let listed = |list: &Value| -> Option<Vec<String>> {
        let described = |name: &str| config["label_descriptions"][name].as_str().unwrap_or(name).to_owned();
        list.as_array()?.iter().map(|name| name.as_str().map(described)).collect()
    };
    let found = by_number(&config["id2label"]).or_else(|| listed(&config["label_names"])).unwrap_or_default();
    if found.iter().enumerate().all(|(class, name)| *name == format!("LABEL_{class}")) {
        return Vec::new();
    }
    let first = |name: &String| name.split(',').next().unwrap_or(name).trim().to_owned();
    let names: Vec<String> = found.iter().map(first).collect();
    if let Some(imagenet) = classes::built_in("imagenet").filter(|known| known.len() == names.len()) {
        // The lists of the libraries differ in a few words.
        if names.iter().zip(&imagenet).filter(|(name, known)| name == known).count() > 800 {
            return imagenet;
        }
    }
    classes::distinct(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_come_from_either_library_and_are_all_different() {
        let of = |config: Value| labels(&config);
        let hub = json!({ "id2label": { "1": "crane, machine", "0": "crane", "2": "cat" } });
        assert_eq!(of(hub), ["crane (0)", "crane (1)", "cat"]);
        let timm = json!({ "label_names": ["n1", "n2"], "label_descriptions": { "n2": "dog" } });
        assert_eq!(of(timm), ["n1", "dog"]);
        assert!(of(json!({ "id2label": { "0": "LABEL_0", "1": "LABEL_1" } })).is_empty());
        assert!(of(json!({ "id2label": { "0": "a", "7": "b" } })).is_empty(), "a number is left out");
        assert!(of(json!({})).is_empty());
    }

    #[test]
    fn a_relative_of_resnets_that_computes_something_else_is_refused() {
        let refused = |config: Value| check(&config, Path::new("config.json")).is_err();
        for config in [
            json!({ "model_type": "vit" }),
            json!({ "model_type": "resnet", "hidden_act": "gelu" }),
            json!({ "model_type": "resnet", "downsample_in_bottleneck": true }),
            json!({ "architecture": "resnetaa50" }),
            json!({ "architecture": "resnet50d" }),
            json!({ "architecture": "vit_base_patch16_224" }),
        ] {
            assert!(refused(config.clone()), "{config}");
        }
        for config in [
            json!({ "model_type": "resnet", "hidden_act": "relu" }),
            json!({ "architecture": "wide_resnet50_2.racm_in1k" }),
            json!({ "architecture": "tv_resnet34" }),
            json!({}),
        ] {
            assert!(!refused(config.clone()), "{config}");
        }
    }
}
