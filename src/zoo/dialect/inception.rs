//! Inception of 2015 as NVIDIA's program of TorchScript names its tensors, under the names of pytorch-fid's file.

/// Layers before the blocks, in order.
const STEM: [&str; 5] = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"];
/// Blocks, in order.
const BLOCKS: [(&str, Kind); 11] = [
    ("Mixed_5b", Kind::At35),
    ("Mixed_5c", Kind::At35),
    ("Mixed_5d", Kind::At35),
    ("Mixed_6a", Kind::To17),
    ("Mixed_6b", Kind::At17),
    ("Mixed_6c", Kind::At17),
    ("Mixed_6d", Kind::At17),
    ("Mixed_6e", Kind::At17),
    ("Mixed_7a", Kind::To8),
    ("Mixed_7b", Kind::At8),
    ("Mixed_7c", Kind::At8),
];

/// What a block is like: the side of its maps.
#[derive(Clone, Copy)]
enum Kind {
    At35,
    To17,
    At17,
    To8,
    At8,
}

/// The name that a tensor of NVIDIA's file has in pytorch-fid's; `None` for one that the network does not have.
pub(super) fn of_nvidia(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["output", leaf] => Some(format!("fc.{leaf}")),
        ["layers", conv, leaf] => joined(STEM.get(place_of("conv", conv)?)?, leaf),
        ["layers", block, layer @ .., leaf] => {
            let (block, kind) = BLOCKS.get(place_of("mixed", block)?)?;
            joined(&format!("{block}.{}", kind.layer(layer)?), leaf)
        }
        _ => None,
    }
}

/// The same leaf of convolution or norm.
fn joined(layer: &str, leaf: &str) -> Option<String> {
    let leaf = match leaf {
        "weight" => "conv.weight",
        "beta" => "bn.bias",
        "mean" => "bn.running_mean",
        "var" => "bn.running_var",
        _ => return None,
    };
    Some(format!("{layer}.{leaf}"))
}

/// TensorFlow counts what has the same name: `conv`, `conv_1`, `conv_2`.
fn place_of(word: &str, name: &str) -> Option<usize> {
    match name.strip_prefix(word)? {
        "" => Some(0),
        rest => rest.strip_prefix('_')?.parse().ok(),
    }
}

impl Kind {
    /// A layer's name within its block.
    fn layer(self, layer: &[&str]) -> Option<String> {
        match (self, layer) {
            (Self::At8, [layer]) => layer_at_8(layer).map(str::to_owned),
            (Self::At35 | Self::At17, ["conv"]) => Some("branch1x1".to_owned()),
            (Self::To17, ["conv"]) => Some("branch3x3".to_owned()),
            (Self::At35 | Self::At17, ["tower_2", "conv"]) => Some("branch_pool".to_owned()),
            (_, [tower, conv]) => {
                let branch = match (self, *tower) {
                    (Self::At35, "tower") => "branch5x5",
                    (Self::At35, "tower_1") | (Self::To17, "tower") => "branch3x3dbl",
                    (Self::At17, "tower") => "branch7x7",
                    (Self::At17, "tower_1") => "branch7x7dbl",
                    (Self::To8, "tower") => "branch3x3",
                    (Self::To8, "tower_1") => "branch7x7x3",
                    _ => return None,
                };
                Some(format!("{branch}_{}", place_of("conv", conv)?.checked_add(1)?))
            }
            _ => None,
        }
    }
}

/// A layer's name where the blocks have no parts of their own.
fn layer_at_8(layer: &str) -> Option<&'static str> {
    Some(match layer {
        "conv" => "branch1x1",
        "tower_conv" => "branch3x3_1",
        "tower_mixed_conv" => "branch3x3_2a",
        "tower_mixed_conv_1" => "branch3x3_2b",
        "tower_1_conv" => "branch3x3dbl_1",
        "tower_1_conv_1" => "branch3x3dbl_2",
        "tower_1_mixed_conv" => "branch3x3dbl_3a",
        "tower_1_mixed_conv_1" => "branch3x3dbl_3b",
        "tower_2_conv" => "branch_pool",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::inception::Inception;

    /// What the blocks' layers are called.
    fn layers() -> Vec<String> {
        let towers = (0..3).flat_map(|tower| {
            let tower = if tower == 0 { "tower".to_owned() } else { format!("tower_{tower}") };
            let convs = (0..5).map(|conv| if conv == 0 { "conv".to_owned() } else { format!("conv_{conv}") });
            let parts = convs.clone().map(|conv| format!("{tower}.{conv}")).collect::<Vec<_>>();
            let whole = convs.map(|conv| format!("{tower}_{conv}")).collect::<Vec<_>>();
            let mixed = ["mixed_conv", "mixed_conv_1"].map(|conv| format!("{tower}_{conv}"));
            [parts, whole, mixed.to_vec()].concat()
        });
        std::iter::once("conv".to_owned()).chain(towers).collect()
    }

    #[test]
    fn every_layer_of_the_network_has_one_name_of_nvidias() {
        let stem = (0..5).map(|conv| if conv == 0 { "layers.conv".to_owned() } else { format!("layers.conv_{conv}") });
        let blocks = (0..11).flat_map(|block| {
            let block = if block == 0 { "layers.mixed".to_owned() } else { format!("layers.mixed_{block}") };
            layers().into_iter().map(move |layer| format!("{block}.{layer}"))
        });
        let named: Vec<String> = stem.chain(blocks).filter_map(|layer| of_nvidia(&format!("{layer}.weight"))).collect();
        for (name, _) in Inception::tensors(false).iter().filter(|(name, _)| name.ends_with(".conv.weight")) {
            assert_eq!(named.iter().filter(|found| *found == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn nvidias_names_become_those_of_pytorch_fid() {
        for (name, wanted) in [
            ("layers.conv.weight", "Conv2d_1a_3x3.conv.weight"),
            ("layers.conv_3.beta", "Conv2d_3b_1x1.bn.bias"),
            ("layers.mixed.tower.conv_1.mean", "Mixed_5b.branch5x5_2.bn.running_mean"),
            ("layers.mixed_2.tower_1.conv_2.var", "Mixed_5d.branch3x3dbl_3.bn.running_var"),
            ("layers.mixed_3.conv.weight", "Mixed_6a.branch3x3.conv.weight"),
            ("layers.mixed_3.tower.conv.weight", "Mixed_6a.branch3x3dbl_1.conv.weight"),
            ("layers.mixed_6.conv.weight", "Mixed_6d.branch1x1.conv.weight"),
            ("layers.mixed_7.tower_1.conv_4.weight", "Mixed_6e.branch7x7dbl_5.conv.weight"),
            ("layers.mixed_8.tower_1.conv_3.weight", "Mixed_7a.branch7x7x3_4.conv.weight"),
            ("layers.mixed_10.tower_1_mixed_conv_1.weight", "Mixed_7c.branch3x3dbl_3b.conv.weight"),
            ("layers.mixed_9.tower_2_conv.beta", "Mixed_7b.branch_pool.bn.bias"),
            ("output.bias", "fc.bias"),
        ] {
            assert_eq!(of_nvidia(name).as_deref(), Some(wanted));
        }
        for name in
            ["layers.conv_5.weight", "layers.mixed_11.conv.weight", "layers.mixed.conv.gamma", "layers.convs.var"]
        {
            assert_eq!(of_nvidia(name), None, "{name}");
        }
    }
}
