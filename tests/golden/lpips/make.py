"""LPIPS with a tiny VGG of random weights, by piq's own code.

Needs torch, torchvision, piq and safetensors:

    python make.py

Writes the three files that README.md tells of.
"""

from pathlib import Path

import torch
from piq.perceptual import ContentLoss
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
WIDTHS, DEPTHS = [4, 6, 8, 8, 10], [2, 2, 3, 3, 3]

torch.manual_seed(7)
layers, taps, convs, channels = [], [], {}, 3
for width, depth in zip(WIDTHS, DEPTHS):
    for _ in range(depth):
        conv = nn.Conv2d(channels, width, 3, padding=1)
        with torch.no_grad():
            conv.weight.mul_(1.6)
            conv.bias.uniform_(-0.1, 0.2)
        convs[len(layers)] = conv
        layers += [conv, nn.ReLU()]
        channels = width
    taps.append(str(len(layers) - 1))
    layers.append(nn.MaxPool2d(2, 2))
heads = [torch.rand(1, width, 1, 1) for width in WIDTHS]
# The arguments of piq's LPIPS(replace_pooling=True, reduction="none"), with another network.
lpips = ContentLoss(
    nn.Sequential(*layers), taps, heads, replace_pooling=True, reduction="none", normalize_features=True
)


def compare(a, b):
    """As in cm/karras_diffusion.py, consistency_losses, with the loss norm lpips."""
    if a.shape[-1] < 256:
        a, b = (nn.functional.interpolate(x, size=224, mode="bilinear") for x in (a, b))
    return lpips((a + 1) / 2.0, (b + 1) / 2.0)


a = (torch.rand(3, 3, 8, 10) * 2 - 1).requires_grad_(True)
b = torch.rand(3, 3, 8, 10) * 2 - 1
b[2] = a[2].detach()
weights = torch.tensor([1.0, 2.0, 3.0])
distance = compare(a, b)
(gradient,) = torch.autograd.grad((distance * weights).sum(), a)

tensors = {
    f"features.{place}.{name}": value.detach().clone()
    for place, conv in convs.items()
    for name, value in conv.named_parameters()
}
save_file(tensors, HERE / "vgg.safetensors")
save_file({f"lin{i}.model.1.weight": head for i, head in enumerate(heads)}, HERE / "heads.safetensors")
values = {"a": a.detach(), "b": b, "distance": distance.detach(), "gradient": gradient, "weights": weights}
save_file(values, HERE / "values.safetensors")
