"""The networks that Lapidary runs, in PyTorch, by the names of the published checkpoints."""

import math

import torch
from torch import nn
from torch.nn import functional as F

IMAGENET = dict(base=192, blocks=3, mult=(1, 2, 3, 4), attention=(2, 4, 8), head=64, patch=1, classes=1000)
DEMO = dict(base=64, blocks=2, mult=(1, 2), attention=(2,), head=64, patch=2, classes=12)
# Makes pictures of 64x64 for classifiers quickly.
TINY64 = dict(base=32, blocks=1, mult=(1,), attention=(), head=32, patch=4, classes=1000)

DEMO_CLASSIFIER = dict(kind="basic", blocks=(1, 1, 1), widths=(48, 96, 192), inner=64, pooled=True, small=True, classes=12)
RESNET50 = dict(kind="bottleneck", blocks=(3, 4, 6, 3), widths=(64, 128, 256, 512), inner=64, classes=1000)
WIDE_RESNET50_2 = dict(RESNET50, inner=128)


class ResBlock(nn.Module):
    """A residual block of OpenAI's U-Net, with scale and shift."""

    def __init__(self, c_in, c_out, emb, resample=None):
        super().__init__()
        self.resample = resample
        self.in_layers = nn.Sequential(nn.GroupNorm(32, c_in), nn.SiLU(), nn.Conv2d(c_in, c_out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, 2 * c_out))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, c_out), nn.SiLU(), nn.Identity(), nn.Conv2d(c_out, c_out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def resized(self, x):
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x

    def forward(self, x, emb):
        norm, act, conv = self.in_layers
        h = conv(self.resized(act(norm(x))))
        scale, shift = self.emb_layers(emb)[:, :, None, None].chunk(2, dim=1)
        norm, act, _, conv = self.out_layers
        h = conv(act(norm(h) * (1 + scale) + shift))
        return self.skip_connection(self.resized(x)) + h


class Attention(nn.Module):
    def __init__(self, channels, head):
        super().__init__()
        self.heads = channels // head
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x, _emb):
        n, c, h, w = x.shape
        parts = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, h * w).transpose(3, 4)
        attended = F.scaled_dot_product_attention(parts[:, 0], parts[:, 1], parts[:, 2])
        return x + self.proj_out(attended.transpose(2, 3).reshape(n, c, h, w))


class Stem(nn.Conv2d):
    def forward(self, x, _emb):
        return super().forward(x)


class Unet(nn.Module):
    """`F(x, t, y)`; `patch` folds space into channels before it."""

    def __init__(self, base, blocks, mult, attention, head, patch, classes, colours=3):
        super().__init__()
        emb, picture = 4 * base, colours * patch * patch
        self.base, self.patch = base, patch
        self.time_embed = nn.Sequential(nn.Linear(base, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.label_emb = nn.Embedding(classes, emb)
        channels, factor = mult[0] * base, 1
        self.input_blocks = nn.ModuleList([nn.ModuleList([Stem(picture, channels, 3, padding=1)])])
        skips = [channels]
        for level, m in enumerate(mult):
            for _ in range(blocks):
                block = [ResBlock(channels, m * base, emb)]
                channels = m * base
                if factor in attention:
                    block.append(Attention(channels, head))
                self.input_blocks.append(nn.ModuleList(block))
                skips.append(channels)
            if level + 1 < len(mult):
                self.input_blocks.append(nn.ModuleList([ResBlock(channels, channels, emb, "down")]))
                skips.append(channels)
                factor *= 2
        self.middle_block = nn.ModuleList(
            [ResBlock(channels, channels, emb), Attention(channels, head), ResBlock(channels, channels, emb)]
        )
        self.output_blocks = nn.ModuleList()
        for level, m in reversed(list(enumerate(mult))):
            for i in range(blocks + 1):
                block = [ResBlock(channels + skips.pop(), m * base, emb)]
                channels = m * base
                if factor in attention:
                    block.append(Attention(channels, head))
                if level and i == blocks:
                    block.append(ResBlock(channels, channels, emb, "up"))
                    factor //= 2
                self.output_blocks.append(nn.ModuleList(block))
        self.out = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, picture, 3, padding=1))

    def forward(self, x, times, labels):
        half = self.base // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=times.device) / half)
        angles = times[:, None] * frequencies[None]
        emb = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1)) + self.label_emb(labels)
        h, skips = F.pixel_unshuffle(x, self.patch), []
        for block in self.input_blocks:
            for layer in block:
                h = layer(h, emb)
            skips.append(h)
        for layer in self.middle_block:
            h = layer(h, emb)
        for block in self.output_blocks:
            h = torch.cat([h, skips.pop()], dim=1)
            for layer in block:
                h = layer(h, emb)
        return F.pixel_shuffle(self.out(h), self.patch)


class Denoiser(nn.Module):
    """One step of a consistency model from the largest noise level, pictures in [0, 1]."""

    SIGMA, SIGMA_DATA, SIGMA_MIN = 80.0, 0.5, 0.002

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, noise, labels):
        x, norm, shifted = noise * self.SIGMA, math.hypot(self.SIGMA, self.SIGMA_DATA), self.SIGMA - self.SIGMA_MIN
        times = torch.full([len(x)], 250 * math.log(self.SIGMA), device=x.device)
        skip = self.SIGMA_DATA**2 / (shifted**2 + self.SIGMA_DATA**2)
        made = self.net(x / norm, times, labels) * (shifted * self.SIGMA_DATA / norm) + x * skip
        return (made.clamp(-1, 1) + 1) / 2


class Block(nn.Module):
    """A residual block of torchvision's ResNets; `pooled` averages the shortcut of a stage that is smaller."""

    def __init__(self, c_in, width, stride, kind, inner, pooled):
        super().__init__()
        inner = width * inner // 64
        shapes = {
            "basic": [(c_in, width, 3, stride), (width, width, 3, 1)],
            "bottleneck": [(c_in, inner, 1, 1), (inner, inner, 3, stride), (inner, 4 * width, 1, 1)],
        }[kind]
        for i, (a, b, k, s) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(a, b, k, stride=s, padding=k // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        self.count, c_out = len(shapes), shapes[-1][1]
        self.downsample = None
        if stride > 1 or c_in != c_out:
            pool = [nn.AvgPool2d(2) if stride == 2 else nn.Identity()] if pooled else []
            conv = nn.Conv2d(c_in, c_out, 1, stride=1 if pooled else stride, bias=False)
            self.downsample = nn.Sequential(*pool, conv, nn.BatchNorm2d(c_out))

    def forward(self, x):
        h = x
        for i in range(1, self.count + 1):
            h = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(h))
            h = F.relu(h) if i < self.count else h
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class Resnet(nn.Module):
    """A classifier of pictures in [0, 1]."""

    def __init__(self, kind, blocks, widths, inner, classes, pooled=False, small=False):
        super().__init__()
        stem = (3, 1, 1) if small else (7, 2, 3)
        self.conv1 = nn.Conv2d(3, widths[0], stem[0], stride=stem[1], padding=stem[2], bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.small, c = small, widths[0]
        for i, (count, width) in enumerate(zip(blocks, widths), 1):
            stage = []
            for j in range(count):
                stage.append(Block(c, width, 2 if j == 0 and i > 1 else 1, kind, inner, pooled))
                c = width * (4 if kind == "bottleneck" else 1)
            setattr(self, f"layer{i}", nn.Sequential(*stage))
        self.stages = len(blocks)
        self.fc = nn.Linear(c, classes)
        mean, std = ([0.5] * 3, [0.25] * 3) if small else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1((x - self.mean) / self.std)))
        h = h if self.small else F.max_pool2d(h, 3, stride=2, padding=1)
        for i in range(1, self.stages + 1):
            h = getattr(self, f"layer{i}")(h)
        return self.fc(h.mean(dim=(2, 3)))


def folded(net):
    """The same with every batch norm in the convolution before it, as Lapidary has it."""
    fuse = torch.nn.utils.fusion.fuse_conv_bn_eval
    for module in [net, *(m for m in net.modules() if isinstance(m, Block))]:
        for i in range(1, 4):
            if hasattr(module, f"bn{i}"):
                setattr(module, f"conv{i}", fuse(getattr(module, f"conv{i}"), getattr(module, f"bn{i}")))
                setattr(module, f"bn{i}", nn.Identity())
        if getattr(module, "downsample", None) is not None:
            *first, conv, norm = module.downsample
            module.downsample = nn.Sequential(*first, fuse(conv, norm))
    return net
