//! `UNet2DModel` of diffusers, as `convert_consistency_to_diffusers.py` maps OpenAI's U-Net.

use super::{Module, Names, Rule};

const TOP: &[Rule] = &[
    Rule::Same("time_embedding.linear_1", "time_embed.0"),
    Rule::Same("time_embedding.linear_2", "time_embed.2"),
    Rule::Same("class_embedding", "label_emb"),
    Rule::Same("conv_in", "input_blocks.0.0"),
    Rule::Same("conv_norm_out", "out.0"),
    Rule::Same("conv_out", "out.2"),
];
/// A residual block, or a resampling convolution in its place.
const RES: &[Rule] = &[
    Rule::Same("norm1", "in_layers.0"),
    Rule::Same("conv1", "in_layers.2"),
    Rule::Same("time_emb_proj", "emb_layers.1"),
    Rule::Same("norm2", "out_layers.0"),
    Rule::Same("conv2", "out_layers.3"),
    Rule::Same("conv_shortcut", "skip_connection"),
];
const DOWN: &[Rule] = &[Rule::Same("conv", "op")];
const UP: &[Rule] = &[Rule::Same("conv", "conv")];
/// The second set of names is that of diffusers before 0.17.
const ATTENTION: &[Rule] = &[
    Rule::Same("group_norm", "norm"),
    Rule::Stacked(["to_q", "to_k", "to_v"], "qkv"),
    Rule::Stacked(["query", "key", "value"], "qkv"),
    Rule::Same("to_out.0", "proj_out"),
    Rule::Same("proj_attn", "proj_out"),
];

/// The network's modules, in the order of OpenAI's numbers.
pub(super) fn modules(names: &Names<'_>) -> Vec<Module> {
    let mut modules = vec![
        Module::new("", "", TOP),
        Module::new("mid_block.resnets.0", "middle_block.0", RES),
        Module::new("mid_block.attentions.0", "middle_block.1", ATTENTION),
        Module::new("mid_block.resnets.1", "middle_block.2", RES),
    ];
    let numbered = |list: &str| {
        let list = list.to_owned();
        (0..).map(move |i| format!("{list}.{i}")).take_while(move |module| names.has(module))
    };
    // Block 0 is the first convolution.
    let mut block = 1;
    for level in numbered("down_blocks") {
        for (res, attention) in numbered(&format!("{level}.resnets")).zip(0..) {
            modules.push(Module::new(res, format!("input_blocks.{block}.0"), RES));
            let attention = format!("{level}.attentions.{attention}");
            modules.push(Module::new(attention, format!("input_blocks.{block}.1"), ATTENTION));
            block += 1;
        }
        for down in numbered(&format!("{level}.downsamplers")) {
            modules.push(Module::new(down.clone(), format!("input_blocks.{block}.0"), RES));
            modules.push(Module::new(down, format!("input_blocks.{block}.0"), DOWN));
            block += 1;
        }
    }
    let mut block = 0;
    for level in numbered("up_blocks") {
        for (res, attention) in numbered(&format!("{level}.resnets")).zip(0..) {
            modules.push(Module::new(res, format!("output_blocks.{block}.0"), RES));
            let attention = format!("{level}.attentions.{attention}");
            modules.push(Module::new(attention, format!("output_blocks.{block}.1"), ATTENTION));
            block += 1;
        }
        // What ends a level stands in its last block, behind the attention if there is one.
        let place = if names.has(&format!("{level}.attentions")) { 2 } else { 1 };
        for up in numbered(&format!("{level}.upsamplers")) {
            let to = format!("output_blocks.{}.{place}", block - 1);
            modules.push(Module::new(up.clone(), to.clone(), RES));
            modules.push(Module::new(up, to, UP));
        }
    }
    modules
}
