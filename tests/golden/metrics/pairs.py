"""Numbers of pairs of pictures by the programs that papers use: see README.md.

Needs numpy, torch, scikit-image, flip-evaluator, lpips, torchmetrics and safetensors, and ../lpips/vgg.safetensors and
../lpips/heads.safetensors:

    python pairs.py

Writes pairs.safetensors and pairs.json.
"""

import json
from pathlib import Path

import numpy as np
import torch
from flip_evaluator import evaluate as flip
from lpips import LPIPS
from safetensors.numpy import load_file, save_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error

HERE = Path(__file__).parent
H, W = 24, 40
rng = np.random.default_rng(23)


def levels(x):
    """Pictures as an 8-bit file holds them."""
    return (np.round(np.clip(x, 0, 1) * 255) / 255).astype(np.float32)


def smooth(channels, height, width):
    """A picture with colours, edges and shades."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = []
    for _ in range(channels):
        f, p = rng.uniform(3, 14, size=4), rng.uniform(0, 6, size=2)
        plane = 0.5 + 0.3 * np.sin(f[0] * x + f[1] * y + p[0]) * np.cos(f[2] * x - f[3] * y + p[1])
        planes.append(plane + 0.3 * (x + y > rng.uniform(0.4, 1.2)))
    return np.stack(planes)


a = levels(np.stack([smooth(3, H, W) for _ in range(3)]))
b = a.copy()
b[0] = levels(a[0] + 0.06 * rng.normal(size=a[0].shape))
b[1] = np.roll(a[1], 1, axis=2)
b[2, :, 8:11, 20:25] = levels(1 - a[2, :, 8:11, 20:25])
# Smaller than every filter, and with other ends of the range.
small_a, small_b = levels(rng.uniform(-0.3, 1.3, size=(2, 1, 3, 5, 7)))
grey_a = levels(smooth(1, H, W))[None]
grey_b = levels(grey_a + 0.05 * rng.normal(size=grey_a.shape))


def flips(a, b):
    """Maps [N, H, W] and their means; grey pictures as three channels that are alike."""
    a, b = (np.broadcast_to(x, (len(x), 3, *x.shape[2:])) for x in (a, b))
    found = [
        flip(*(np.ascontiguousarray(x.transpose(1, 2, 0)) for x in pair), "LDR", inputsRGB=True, applyMagma=False)
        for pair in zip(a, b)
    ]
    maps = np.stack([m.reshape(m.shape[0], m.shape[1], -1)[..., 0] for m, _, _ in found]).astype(np.float32)
    return maps, [float(np.mean(m, dtype=np.float64)) for m in maps]


def similarities(a, b):
    return [
        float(
            structural_similarity(
                x.astype(np.float64),
                y.astype(np.float64),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1,
                channel_axis=0,
            )
        )
        for x, y in zip(a, b)
    ]


def ratios(a, b):
    return [float(peak_signal_noise_ratio(x.astype(np.float64), y.astype(np.float64), data_range=1)) for x, y in zip(a, b)]


class Stages(nn.Module):
    """The narrow network of ../lpips, stage by stage, with the pools of VGG16."""

    def __init__(self, vgg):
        super().__init__()
        self.stages, place, channels = nn.ModuleList(), 0, 3
        for stage, depth in enumerate([2, 2, 3, 3, 3]):
            layers = [nn.MaxPool2d(2, 2)] if stage else []
            for k in range(depth):
                weight, bias = (torch.tensor(vgg[f"features.{place + 2 * k}.{part}"]) for part in ("weight", "bias"))
                conv = nn.Conv2d(channels, len(weight), 3, padding=1)
                conv.weight.data, conv.bias.data, channels = weight, bias, len(weight)
                layers += [conv, nn.ReLU()]
            place += 2 * depth + 1
            self.stages.append(nn.Sequential(*layers))

    def forward(self, x):
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


def distances(a, b):
    """By the package's own class, with another network in it."""
    vgg, heads = (load_file(HERE.parent / "lpips" / f"{name}.safetensors") for name in ("vgg", "heads"))
    lpips = LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False)
    lpips.net = Stages(vgg)
    for stage, lin in enumerate(lpips.lins):
        lin.model[-1].weight.data = torch.tensor(heads[f"lin{stage}.model.1.weight"])
    with torch.no_grad():
        return [float(x) for x in lpips(torch.tensor(a), torch.tensor(b), normalize=True).flatten()]


maps, means = flips(a, b)
small_maps, small_means = flips(small_a, small_b)
grey_maps, grey_means = flips(grey_a, grey_b)
logits = load_file(HERE / "features.safetensors")["logits"]
labels = rng.integers(0, 5, size=len(logits))
labels[:30] = logits[:30].argmax(axis=1)
calibration = multiclass_calibration_error(
    torch.tensor(logits).double().softmax(dim=1), torch.tensor(labels), num_classes=5, n_bins=15, norm="l1"
)
tensors = {"a": a, "b": b, "flip": maps, "small_a": small_a, "small_b": small_b, "small_flip": small_maps}
tensors |= {"grey_a": grey_a, "grey_b": grey_b, "grey_flip": grey_maps, "labels": labels.astype(np.int64)}
save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, HERE / "pairs.safetensors")
values = {
    "psnr": ratios(a, b),
    "ssim": similarities(a, b),
    "flip": means,
    "small_flip": small_means,
    "grey_ssim": similarities(grey_a, grey_b),
    "grey_flip": grey_means,
    "lpips": distances(a, b),
    "calibration_error": float(calibration),
}
with open(HERE / "pairs.json", "w") as out:
    json.dump(values, out, indent=1)
    out.write("\n")
print(values)
