//! Folders that diffusers writes: what their configuration says beyond the shapes.
//!
//! # Source
//! huggingface/diffusers, `UNet2DModel`, `CMStochasticIterativeScheduler`, `scripts/convert_consistency_to_diffusers.py`.
//! A network that differs from OpenAI's U-Net in a way that shapes do not show is refused here.

use std::path::Path;

use serde_json::{Value, json};

use super::NoiseSchedule;
use super::config::{read_json, refusal, whole};
use crate::checkpoint::CheckpointError;

/// Components of pipelines whose networks work on codes instead of pixels.
const ENCODERS: [&str; 3] = ["vae", "vqvae", "vqgan"];
/// What a configuration says that the shapes of the weights do not.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct DiffusersConfig {
    /// Height and width of the pictures.
    pub(super) resolution: Option<usize>,
    /// Channels per attention head; `None`: one head of all channels.
    pub(super) attention_head_dim: Option<usize>,
    /// The scheduler of the pipeline.
    pub(super) scheduler: Option<Scheduler>,
}

/// What the network was trained for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scheduler {
    /// A consistency model; `steps` is the size of the grid of noise levels.
    Consistency { sigma_min: f64, sigma_max: f64, sigma_data: f64, rho: f64, steps: usize },
    /// Noise prediction at discrete steps.
    Discrete { schedule: NoiseSchedule, steps: usize },
}

/// The configuration that lies beside a file of weights, if there is one.
pub(super) fn beside(weights: &Path) -> Result<Option<DiffusersConfig>, CheckpointError> {
    match weights.parent() {
        Some(folder) if folder.join("config.json").is_file() => read_config(folder).map(Some),
        _ => Ok(None),
    }
}

/// Reads `config.json` of a U-Net's folder and what the pipeline around it says.
pub(super) fn read_config(unet: &Path) -> Result<DiffusersConfig, CheckpointError> {
    let path = unet.join("config.json");
    let config = read_json(&path)?;
    check_unet(&config, &path)?;
    let around = unet.parent().unwrap_or(unet);
    let pipeline = around.join("model_index.json");
    if pipeline.is_file() {
        let index = read_json(&pipeline)?;
        if let Some(encoder) = ENCODERS.iter().find(|name| index.get(**name).is_some_and(|part| !part[1].is_null())) {
            return Err(refusal(&pipeline, format!("{encoder:?}"), "a network that works on codes has no pixels"));
        }
    }
    let scheduler = around.join("scheduler").join("scheduler_config.json");
    let scheduler = if scheduler.is_file() { Some(read_scheduler(&scheduler)?) } else { None };
    let resolution = match &config["sample_size"] {
        Value::Array(sides) if sides.len() == 2 && sides[0] == sides[1] => whole(&sides[0]),
        side => whole(side),
    };
    // diffusers' default is 8; null means one head.
    let attention_head_dim = match config.get("attention_head_dim") {
        None => Some(8),
        Some(Value::Null) => None,
        Some(value) => {
            let odd = || refusal(&path, format!("attention_head_dim = {value}"), "it must be one number or null");
            Some(whole(value).ok_or_else(odd)?)
        }
    };
    Ok(DiffusersConfig { resolution, attention_head_dim, scheduler })
}

/// Refuses what differs from OpenAI's U-Net without changing a shape. A missing entry has diffusers' default, which
/// is the first of the accepted values.
fn check_unet(config: &Value, path: &Path) -> Result<(), CheckpointError> {
    let accepted: [(&str, &[Value]); 13] = [
        ("_class_name", &[json!("UNet2DModel")]),
        ("norm_eps", &[json!(1e-5)]),
        ("norm_num_groups", &[json!(32)]),
        ("attn_norm_num_groups", &[Value::Null, json!(32)]),
        ("act_fn", &[json!("silu"), json!("swish")]),
        ("time_embedding_type", &[json!("positional")]),
        ("flip_sin_to_cos", &[json!(true)]),
        ("freq_shift", &[json!(0)]),
        ("center_input_sample", &[json!(false)]),
        ("mid_block_scale_factor", &[json!(1)]),
        ("resnet_time_scale_shift", &[json!("default"), json!("scale_shift")]),
        ("class_embed_type", &[Value::Null]),
        ("downsample_padding", &[json!(1)]),
    ];
    // Only the class has no default: without it the folder belongs to another library.
    if config.get("_class_name").is_none() {
        return Err(refusal(path, "no _class_name".to_owned(), "a U-Net of diffusers has one"));
    }
    for (key, values) in accepted {
        let found = config.get(key).unwrap_or(&values[0]);
        if !values.iter().any(|value| same(value, found)) {
            let expected = values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
            return Err(refusal(path, format!("{key} = {found}"), &format!("OpenAI's U-Net has {expected}")));
        }
    }
    let blocks = ["down_block_types", "up_block_types"].map(|key| config[key].as_array().cloned().unwrap_or_default());
    let known = |block: &&Value| {
        let name = block.as_str().unwrap_or_default();
        let middle = name.strip_prefix("Attn").or_else(|| name.strip_prefix("Resnet")).unwrap_or(name);
        // The names that the conversion script wrote in its first version are among them.
        ["DownBlock2D", "UpBlock2D", "DownsampleBlock2D", "UpsampleBlock2D"].contains(&middle)
    };
    match blocks.iter().flatten().find(|block| !known(block)) {
        Some(block) => Err(refusal(path, format!("a block {block}"), "OpenAI's U-Net has no such block")),
        None => Ok(()),
    }
}

/// Equal, whether a number is written as an integer or not.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn read_scheduler(path: &Path) -> Result<Scheduler, CheckpointError> {
    let config = read_json(path)?;
    let number = |key: &str, default: f64| config[key].as_f64().unwrap_or(default);
    let steps = |default: usize| whole(&config["num_train_timesteps"]).unwrap_or(default);
    let class = config["_class_name"].as_str().unwrap_or_default();
    if class == "CMStochasticIterativeScheduler" {
        return Ok(Scheduler::Consistency {
            sigma_min: number("sigma_min", 0.002),
            sigma_max: number("sigma_max", 80.0),
            sigma_data: number("sigma_data", 0.5),
            rho: number("rho", 7.0),
            steps: steps(40),
        });
    }
    if !(class.starts_with("DDPM") || class.starts_with("DDIM")) {
        let found = format!("the scheduler {class:?}");
        return Err(refusal(path, found, "consistency models have CMStochasticIterativeScheduler"));
    }
    let prediction = config["prediction_type"].as_str().unwrap_or("epsilon");
    if prediction != "epsilon" {
        return Err(refusal(path, format!("prediction_type = {prediction:?}"), "only \"epsilon\" is supported"));
    }
    let schedule = match config["beta_schedule"].as_str().unwrap_or("linear") {
        "linear" if number("beta_start", 1e-4) == 1e-4 && number("beta_end", 0.02) == 0.02 => NoiseSchedule::Linear,
        "squaredcos_cap_v2" => NoiseSchedule::Cosine,
        other => {
            let expected = "only \"linear\" from 0.0001 to 0.02 and \"squaredcos_cap_v2\" are supported";
            let (start, end) = (number("beta_start", 1e-4), number("beta_end", 0.02));
            return Err(refusal(path, format!("beta_schedule = {other:?} from {start} to {end}"), expected));
        }
    };
    Ok(Scheduler::Discrete { schedule, steps: steps(1000) })
}
