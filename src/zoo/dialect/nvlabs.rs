//! `DhariwalUNet` of NVlabs' EDM (`training/networks.py`): the same network as OpenAI's, taken apart differently.
//!
//! Attention lies inside the block, an upsampling block opens its level instead of ending the one below, and the rows of
//! `qkv` are ordered `(head, d, three)`.

use std::collections::BTreeSet;

use super::{Module, Names, Rule};

const TOP: &[Rule] = &[
    Rule::Same("map_layer0", "time_embed.0"),
    Rule::Same("map_layer1", "time_embed.2"),
    Rule::Transposed("map_label", "label_emb"),
    Rule::Same("out_norm", "out.0"),
    Rule::Same("out_conv", "out.2"),
];
const STEM: &[Rule] = &[Rule::Same("", "")];
const RES: &[Rule] = &[
    Rule::Same("norm0", "in_layers.0"),
    Rule::Same("conv0", "in_layers.2"),
    Rule::Same("affine", "emb_layers.1"),
    Rule::Same("norm1", "out_layers.0"),
    Rule::Same("conv1", "out_layers.3"),
    Rule::Same("skip", "skip_connection"),
];
const ATTENTION: &[Rule] =
    &[Rule::Same("norm2", "norm"), Rule::Interleaved("qkv", "qkv"), Rule::Same("proj", "proj_out")];

/// A block's place in its level: the stem and whatever changes size or opens the decoder come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Stem,
    Resample,
    Middle(usize),
    Block(usize),
}

/// Resolution and kind of a block such as `64x64_block0`.
fn parse(block: &str) -> Option<(usize, Kind)> {
    let (size, kind) = block.split_once('_')?;
    let resolution = size.split_once('x')?.0.parse().ok()?;
    let number = |word: &str| kind.strip_prefix(word).and_then(|number| number.parse().ok());
    let kind = match kind {
        "conv" => Kind::Stem,
        "down" | "up" => Kind::Resample,
        _ => number("in").map(Kind::Middle).or_else(|| number("block").map(Kind::Block))?,
    };
    Some((resolution, kind))
}

/// The network's modules in the order of OpenAI's numbers, and the resolution of the pictures.
pub(super) fn modules(names: &Names<'_>) -> (Vec<Module>, Option<usize>) {
    let mut modules = vec![Module::new("", "", TOP)];
    let blocks = |half: &str| {
        let names = names.iter().filter_map(|name| name.strip_prefix(half)?.split('.').next());
        names.filter_map(|name| parse(name).map(|(resolution, kind)| (resolution, kind, name))).collect::<BTreeSet<_>>()
    };
    let encoder = blocks("enc.");
    let mut resolutions: Vec<usize> = encoder.iter().map(|(resolution, ..)| *resolution).collect();
    resolutions.dedup();
    let mut number = 0;
    // The encoder halves the resolution, so the largest comes first; within a level the order of kinds holds.
    for level in resolutions.iter().rev() {
        for (_, kind, name) in encoder.iter().filter(|(resolution, ..)| resolution == level) {
            let (from, to) = (format!("enc.{name}"), format!("input_blocks.{number}"));
            if *kind == Kind::Stem {
                modules.push(Module::new(from, format!("{to}.0"), STEM));
            } else {
                modules.push(Module::new(from.clone(), format!("{to}.0"), RES));
                modules.push(Module::new(from, format!("{to}.1"), ATTENTION));
            }
            number += 1;
        }
    }
    let mut number = 0_usize;
    let mut attended = false;
    for (_, kind, name) in blocks("dec.") {
        let from = format!("dec.{name}");
        match kind {
            Kind::Stem => {}
            Kind::Middle(0) => {
                modules.push(Module::new(from.clone(), "middle_block.0", RES));
                modules.push(Module::new(from, "middle_block.1", ATTENTION));
            }
            Kind::Middle(_) => modules.push(Module::new(from, "middle_block.2", RES)),
            // Opens its level here, ends the one below there: behind the attention of the block before, if it has one.
            Kind::Resample => {
                let place = if attended { 2 } else { 1 };
                modules.push(Module::new(from, format!("output_blocks.{}.{place}", number.saturating_sub(1)), RES));
            }
            Kind::Block(_) => {
                attended = names.has(&format!("{from}.qkv"));
                modules.push(Module::new(from.clone(), format!("output_blocks.{number}.0"), RES));
                modules.push(Module::new(from, format!("output_blocks.{number}.1"), ATTENTION));
                number += 1;
            }
        }
    }
    (modules, resolutions.last().copied())
}
