//! Weights and pictures from an integer hash, so that nets of any size need no file. `golden/resnet/hashed.py`, where
//! the recipe is told, makes the same numbers to the last bit.

use std::borrow::Cow;
use std::path::Path;

use lapidary::checkpoint::Checkpoint;
use lapidary::image::ImageBatch;
use lapidary::zoo::{self, Manifest, expected, find};
use safetensors::{Dtype, View, serialize_to_file};

/// How weights follow from the hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    /// Variance of a kernel times three and its fan-in: 3, or 6 before a ReLU.
    pub(crate) conv_gain: f64,
    /// The norm whose scales are small, so that a residual block adds little.
    pub(crate) last_norm: Option<&'static str>,
}

/// 24 bits for every value of the tensor `name`, as whole numbers: the upper ones of splitmix64(fnv1a64(name) + i).
pub(crate) fn bits(name: &str) -> impl Iterator<Item = f32> {
    let fnv1a64 = |state: u64, byte: u8| -> u64 { (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) };
    let key = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a64);
    (0_u64..).map(move |i| {
        let mut z = key.wrapping_add(i).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32
    })
}

/// Pictures called `names`, one after the other, `[3, side, side]` each, in `[0, 1)`.
pub(crate) fn pictures(names: &[String], side: usize) -> ImageBatch {
    let len = 3 * side * side;
    let pixels = names.iter().flat_map(|name| bits(name).take(len)).map(|k| k / 16_777_216.0).collect();
    ImageBatch::new([names.len(), 3, side, side], pixels)
}

/// A parameter, made when it is asked for.
struct Parameter<'a> {
    name: &'a str,
    shape: &'a [usize],
    recipe: Recipe,
}

impl Parameter<'_> {
    fn values(&self) -> Vec<f32> {
        let uniform = bits(self.name).take(self.shape.iter().product()).map(|k| k / 8_388_608.0 - 1.0);
        if self.name == "label_emb.weight" {
            return uniform.collect();
        }
        if let [_, fan_in @ ..] = self.shape
            && !fan_in.is_empty()
        {
            let gain = if fan_in.len() == 1 { 3.0 } else { self.recipe.conv_gain };
            let scale = (gain / fan_in.iter().product::<usize>() as f64).sqrt() as f32;
            return uniform.map(|u| u * scale).collect();
        }
        let last = |norm: &str| self.name.ends_with(&format!(".{norm}.weight"));
        match self.name.rsplit('.').next() {
            Some("weight") if self.recipe.last_norm.is_some_and(last) => {
                uniform.map(|u| (1.0 + 0.25 * u) * 0.3).collect()
            }
            Some("weight" | "running_var") => uniform.map(|u| 1.0 + 0.25 * u).collect(),
            _ => uniform.map(|u| 0.1 * u).collect(),
        }
    }
}

impl View for Parameter<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        for value in self.values() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

/// Writes hashed tensors of these names and shapes.
pub(crate) fn write(tensors: &[(String, Vec<usize>)], recipe: Recipe, path: &Path) {
    let weights = tensors.iter().map(|(name, shape)| (name.as_str(), Parameter { name, shape, recipe }));
    serialize_to_file(weights, None, path).expect("a temporary folder takes the weights");
}

/// Writes the network of a manifest to `folder` as users keep it, a file of weights beside its manifest, and opens it.
pub(crate) fn checkpoint(manifest: &str, recipe: Recipe, folder: &Path) -> (Manifest, Checkpoint) {
    let path = folder.join("net.toml");
    let tensors = expected(&Manifest::parse(manifest, &path).expect("the manifest is valid"));
    write(&tensors, recipe, &folder.join("net.safetensors"));
    std::fs::write(&path, manifest).expect("a temporary folder takes the manifest");
    let (manifest, weights) = find(path.to_str().expect("a plain name")).expect("the manifest is found");
    let opened = zoo::open(&weights.expect("weights beside the manifest")).expect("the weights open");
    (manifest, opened.checkpoint)
}
