//! Residual networks for small pictures under torchvision's names, or those that torchvision would give.

/// ResNets for CIFAR-10 (kuangliu/pytorch-cifar and what follows it, RobustBench's PreActResNet too).
pub(super) fn of_cifar(name: &str) -> String {
    let name = name.replace(".shortcut.", ".downsample.");
    match name.split_once('.') {
        Some(("linear", leaf)) => format!("fc.{leaf}"),
        Some(("bn", leaf)) => format!("bn1.{leaf}"),
        _ => name,
    }
}

/// ResNets of transformers, whose blocks are torchvision's; whatever else there is keeps its name.
pub(super) fn of_transformers(name: &str) -> String {
    let after = |number: &str| number.parse::<usize>().ok().and_then(|number| number.checked_add(1));
    let parts: Vec<&str> = name.split('.').collect();
    let renamed = match parts.as_slice() {
        ["classifier", "1", leaf] => Some(format!("fc.{leaf}")),
        ["resnet", "embedder", "embedder", "convolution", leaf] => Some(format!("conv1.{leaf}")),
        ["resnet", "embedder", "embedder", "normalization", leaf] => Some(format!("bn1.{leaf}")),
        ["resnet", "encoder", "stages", stage, "layers", block, module @ .., kind, leaf] => {
            let norm = *kind == "normalization";
            let module = match module {
                ["shortcut"] => Some(format!("downsample.{}", u8::from(norm))),
                ["layer", place] => after(place).map(|place| format!("{}{place}", if norm { "bn" } else { "conv" })),
                _ => None,
            };
            after(stage).zip(module).map(|(stage, module)| format!("layer{stage}.{block}.{module}.{leaf}"))
        }
        _ => None,
    };
    renamed.unwrap_or_else(|| name.to_owned())
}

/// Wide-ResNets of RobustBench, `block1.layer.0.convShortcut`; whatever else there is, such as `sub_block1`, keeps its name.
pub(super) fn of_robustbench(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let stage = parts[0].strip_prefix("block").filter(|stage| stage.parse::<usize>().is_ok());
    match (stage, parts.as_slice()) {
        (Some(stage), [_, "layer", block, "convShortcut", leaf]) => format!("layer{stage}.{block}.downsample.0.{leaf}"),
        (Some(stage), [_, "layer", block, rest @ ..]) => format!("layer{stage}.{block}.{}", rest.join(".")),
        _ => name.to_owned(),
    }
}

/// Wide-ResNets of DeepMind, as RobustBench has them: `layer.0.block.0.batchnorm_0`.
pub(super) fn of_deepmind(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["init_conv", leaf] => format!("conv1.{leaf}"),
        ["batchnorm", leaf] => format!("bn1.{leaf}"),
        ["logits", leaf] => format!("fc.{leaf}"),
        ["layer", stage, "block", block, module, leaf] => {
            let module = match *module {
                "batchnorm_0" => "bn1",
                "batchnorm_1" => "bn2",
                "conv_0" => "conv1",
                "conv_1" => "conv2",
                "shortcut" => "downsample.0",
                _ => return name.to_owned(),
            };
            let stage = stage
                .parse::<usize>()
                .map_or_else(|_| (*stage).to_owned(), |stage| stage.saturating_add(1).to_string());
            format!("layer{stage}.{block}.{module}.{leaf}")
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_small_resnets_become_torchvisions() {
        for (name, canonical) in [
            ("layer2.0.shortcut.0.weight", "layer2.0.downsample.0.weight"),
            ("bn.running_mean", "bn1.running_mean"),
            ("bn1.weight", "bn1.weight"),
            ("linear.bias", "fc.bias"),
        ] {
            assert_eq!(of_cifar(name), canonical);
        }
        for (name, canonical) in [
            ("resnet.embedder.embedder.normalization.running_var", "bn1.running_var"),
            ("resnet.encoder.stages.0.layers.2.layer.1.convolution.weight", "layer1.2.conv2.weight"),
            ("resnet.encoder.stages.3.layers.0.layer.2.normalization.bias", "layer4.0.bn3.bias"),
            ("resnet.encoder.stages.1.layers.0.shortcut.convolution.weight", "layer2.0.downsample.0.weight"),
            ("resnet.encoder.stages.1.layers.0.shortcut.normalization.weight", "layer2.0.downsample.1.weight"),
            ("classifier.1.weight", "fc.weight"),
            ("resnet.pooler.weight", "resnet.pooler.weight"),
        ] {
            assert_eq!(of_transformers(name), canonical);
        }
        for (name, canonical) in [
            ("block3.layer.4.bn2.bias", "layer3.4.bn2.bias"),
            ("block1.layer.0.convShortcut.weight", "layer1.0.downsample.0.weight"),
            ("sub_block1.layer.0.conv1.weight", "sub_block1.layer.0.conv1.weight"),
            ("fc.weight", "fc.weight"),
        ] {
            assert_eq!(of_robustbench(name), canonical);
        }
        for (name, canonical) in [
            ("init_conv.weight", "conv1.weight"),
            ("layer.0.block.2.batchnorm_1.running_var", "layer1.2.bn2.running_var"),
            ("layer.2.block.0.shortcut.weight", "layer3.0.downsample.0.weight"),
            ("batchnorm.bias", "bn1.bias"),
            ("logits.weight", "fc.weight"),
        ] {
            assert_eq!(of_deepmind(name), canonical);
        }
    }
}
