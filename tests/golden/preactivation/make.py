"""Logits and input gradients of small pre-activation residual nets with hashed weights (../resnet/hashed.py), computed in
double precision.

Needs torch, numpy and safetensors:

    OMP_NUM_THREADS=2 python make.py

Writes preactivation.safetensors and prints the numbers of README.md.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent.parent / "resnet"))
from hashed import picture, tensor  # noqa: E402

MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
STD = torch.tensor([0.2471, 0.2435, 0.2616]).view(1, 3, 1, 1)
SIDE = 32
CANDIDATES = 40


def conv(c_in, c_out, kernel, stride=1, padding=0):
    return nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)


class WideBlock(nn.Module):
    """RobustBench `wide_resnet.py`: where the width changes, both ways see the activated input."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(c_in), conv(c_in, c_out, 3, stride, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(c_out), conv(c_out, c_out, 3, 1, 1)
        self.convShortcut = conv(c_in, c_out, 1, stride) if c_in != c_out else None
        self.act = nn.ReLU()

    def forward(self, x):
        activated = self.act(self.bn1(x))
        out = self.conv2(self.act(self.bn2(self.conv1(activated))))
        return out + (x if self.convShortcut is None else self.convShortcut(activated))


class DeepMindBlock(nn.Module):
    """RobustBench `dm_wide_resnet.py`: SiLU, and TensorFlow's SAME padding where the stride is 2."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.batchnorm_0, self.conv_0 = nn.BatchNorm2d(c_in), conv(c_in, c_out, 3, stride)
        self.batchnorm_1, self.conv_1 = nn.BatchNorm2d(c_out), conv(c_out, c_out, 3, 1, 1)
        self.shortcut = conv(c_in, c_out, 1, stride) if c_in != c_out else None
        self.pad = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
        self.act = nn.SiLU()

    def forward(self, x):
        activated = self.act(self.batchnorm_0(x))
        out = self.conv_1(self.act(self.batchnorm_1(self.conv_0(F.pad(activated, self.pad)))))
        return out + (x if self.shortcut is None else self.shortcut(activated))


class PreActBlock(nn.Module):
    """RobustBench `resnet.py`: the shortcut sees the activated input (PreActBlockV2) or the input as it is (PreActBlock)."""

    def __init__(self, c_in, c_out, stride, activated):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(c_in), conv(c_in, c_out, 3, stride, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(c_out), conv(c_out, c_out, 3, 1, 1)
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(conv(c_in, c_out, 1, stride))
        self.activated = activated
        self.act = nn.ReLU()

    def forward(self, x):
        activated = self.act(self.bn1(x))
        out = self.conv2(self.act(self.bn2(self.conv1(activated))))
        if not hasattr(self, "shortcut"):
            return out + x
        return out + self.shortcut(activated if self.activated else x)


class Wide(nn.Module):
    """WRN-10-2."""

    def __init__(self):
        super().__init__()
        self.conv1 = conv(3, 16, 3, 1, 1)
        for stage, (c_in, c_out) in enumerate([(16, 32), (32, 64), (64, 128)]):
            block = nn.Module()
            block.layer = nn.Sequential(WideBlock(c_in, c_out, 1 if stage == 0 else 2))
            setattr(self, f"block{stage + 1}", block)
        self.bn1, self.fc, self.act = nn.BatchNorm2d(128), nn.Linear(128, 10), nn.ReLU()

    def forward(self, x):
        out = self.block3.layer(self.block2.layer(self.block1.layer(self.conv1(x))))
        return self.fc(self.act(self.bn1(out)).mean((2, 3)))


class DeepMind(nn.Module):
    """WRN-16-2 of DeepMind."""

    def __init__(self):
        super().__init__()
        self.init_conv = conv(3, 16, 3, 1, 1)
        groups = []
        for stage, (c_in, c_out) in enumerate([(16, 32), (32, 64), (64, 128)]):
            group = nn.Module()
            blocks = [DeepMindBlock(c_in, c_out, 1 if stage == 0 else 2), DeepMindBlock(c_out, c_out, 1)]
            group.block = nn.Sequential(*blocks)
            groups.append(group)
        self.layer = nn.ModuleList(groups)
        self.batchnorm, self.logits, self.act = nn.BatchNorm2d(128), nn.Linear(128, 10), nn.SiLU()

    def forward(self, x):
        out = self.init_conv(x)
        for group in self.layer:
            out = group.block(out)
        return self.logits(self.act(self.batchnorm(out)).mean((2, 3)))


class PreAct(nn.Module):
    """PreActResNet-18, a quarter as wide."""

    def __init__(self, last_norm):
        super().__init__()
        self.conv1 = conv(3, 16, 3, 1, 1)
        c_in = 16
        for stage in range(4):
            c_out, blocks = 16 << stage, []
            for block in range(2):
                blocks.append(PreActBlock(c_in, c_out, 2 if stage > 0 and block == 0 else 1, last_norm))
                c_in = c_out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        if last_norm:
            self.bn = nn.BatchNorm2d(128)
        self.linear, self.act, self.last_norm = nn.Linear(128, 10), nn.ReLU(), last_norm

    def forward(self, x):
        out = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.last_norm:
            out = self.act(self.bn(out))
        return self.linear(out.mean((2, 3)))


NETS = {"wide": Wide, "deepmind": DeepMind, "preact": lambda: PreAct(True), "preact_bare": lambda: PreAct(False)}


def build(net):
    """The net with hashed weights and statistics under its own names, in evaluation mode, double precision."""
    model = NETS[net]()
    state = {
        name: value if value.ndim == 0 else torch.from_numpy(tensor(name, tuple(value.shape), 3.0))
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model.eval().double()


def forward(model, x):
    """Logits of pictures in [0, 1]."""
    return model((x - MEAN.to(x)) / STD.to(x))


def decisions(model, x):
    """Inputs of every ReLU, layer by layer."""
    found = []
    hooks = [
        module.register_forward_pre_hook(lambda _module, inputs: found.append(inputs[0].detach().clone().flatten()))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    with torch.no_grad():
        forward(model, x)
    for hook in hooks:
        hook.remove()
    return found


def margin(model, single, x):
    """How far the closest ReLU is from turning, in units of its layer's rounding error (that of single precision)."""
    worst = float("inf")
    for values, rounded in zip(decisions(model, x), decisions(single, x.float())):
        error = float((values - rounded.double()).square().mean().sqrt())
        worst = min(worst, float(values.abs().min()) / error)
    return worst


def main():
    golden = {}
    for net in NETS:
        model, single = build(net), build(net).float()
        names = [f"picture.{i}" for i in range(CANDIDATES)]
        shape = (1, 3, SIDE, SIDE)
        margins = {name: margin(model, single, torch.from_numpy(picture(name, shape)).double()) for name in names}
        best = sorted(names, key=margins.get)[-2:]
        print(net, {name: round(margins[name], 1) for name in best})
        x = torch.from_numpy(np.concatenate([picture(name, shape) for name in best]))
        labels = torch.tensor([3, 7])

        def gradients(model, x):
            x = x.clone().requires_grad_()
            logits = forward(model, x)
            rows = torch.arange(2)
            log_prob = F.log_softmax(logits, 1)[rows, labels].sum()
            logit = torch.autograd.grad(logits[rows, labels].sum(), x, retain_graph=True)[0]
            return logits.detach(), logit, torch.autograd.grad(log_prob, x)[0]

        exact, rounded = gradients(model, x.double()), gradients(single, x)
        for name, values, other in zip(["logits", "grad_target_logit", "grad_log_prob"], exact, rounded):
            golden[f"{net}.{name}"] = values.float().contiguous()
            apart = (values - other.double()).abs().amax() / values.abs().amax()
            print(f"  {name}: largest {values.abs().max():.3g}, PyTorch in single precision is {apart:.1e} of it away")
        golden[f"{net}.pictures"] = torch.tensor([int(name.split(".")[1]) for name in best])
        golden[f"{net}.labels"] = labels
    save_file(golden, Path(__file__).parent / "preactivation.safetensors")


if __name__ == "__main__":
    main()
