"""Logits and input gradients of torchvision's residual nets with hashed weights (hashed.py), computed in double precision.

Needs torch, torchvision, numpy and safetensors:

    OMP_NUM_THREADS=2 python make.py

Writes resnet.safetensors and prints the numbers of README.md.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn import functional as F

sys.dont_write_bytecode = True
from hashed import picture, tensor  # noqa: E402

NETS = {"resnet18": "bn2", "resnet50": "bn3", "wide_resnet50_2": "bn3"}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
SIDE = 64
CANDIDATES = 60


def build(net):
    """The net with hashed weights and batch-norm statistics, in evaluation mode, double precision."""
    model = getattr(torchvision.models, net)(weights=None)
    state = {
        name: value if value.ndim == 0 else torch.from_numpy(tensor(name, tuple(value.shape), 6.0, NETS[net]))
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model.eval().double()


def forward(model, x):
    """Logits of pictures in [0, 1]."""
    return model((x - MEAN.to(x)) / STD.to(x))


def decisions(model, x):
    """Inputs of every ReLU, and the lead of the largest value in every window of the max-pool, layer by layer."""
    found = []
    modules = [m for m in model.modules() if isinstance(m, (torch.nn.ReLU, torch.nn.MaxPool2d))]

    def relu(_module, inputs):
        found.append(inputs[0].detach().clone().flatten())

    def pool(_module, inputs):
        # Windows of zeros do not count: no gradient passes the ReLU before them.
        windows = F.unfold(F.pad(inputs[0].detach(), (1, 1, 1, 1), value=-1.0), 3, stride=2)
        top = windows.view(1, -1, 9, windows.shape[-1]).topk(2, dim=2).values
        lead = (top[:, :, 0] - top[:, :, 1])[top[:, :, 0] > 0]
        found.append(lead.flatten())

    hooks = [m.register_forward_pre_hook(relu if isinstance(m, torch.nn.ReLU) else pool) for m in modules]
    with torch.no_grad():
        forward(model, x)
    for hook in hooks:
        hook.remove()
    return found


def margin(model, single, x):
    """How far the closest decision is from turning, in units of its layer's rounding error.

    The error of a layer is measured: root mean square difference of its ReLU inputs between single and double precision.
    """
    exact, rounded = decisions(model, x), decisions(single, x.float())
    worst = float("inf")
    error = 0.0
    for values, approximate in zip(exact, rounded):
        if len(values) == len(approximate):
            error = float((values - approximate.double()).square().mean().sqrt())
        worst = min(worst, float(values.abs().min()) / error)
    return worst


def choose(net, model, single):
    """The two hashed pictures, of CANDIDATES, whose ReLUs and maxima are least likely to turn by rounding."""
    names = [f"picture.{i}" for i in range(CANDIDATES)]
    shape = (1, 3, SIDE, SIDE)
    margins = {name: margin(model, single, torch.from_numpy(picture(name, shape)).double()) for name in names}
    best = sorted(names, key=margins.get)[-2:]
    print(net, {name: round(margins[name], 1) for name in best})
    return best


def gradients(model, x, labels):
    """Logits, and gradients of the target logit and of the target log-probability with respect to [0, 1] pixels."""
    x = x.clone().requires_grad_()
    logits = forward(model, x)
    rows = torch.arange(len(labels))
    logit = torch.autograd.grad(logits[rows, labels].sum(), x, retain_graph=True)[0]
    log_prob = torch.autograd.grad(F.log_softmax(logits, 1)[rows, labels].sum(), x)[0]
    return logits.detach(), logit, log_prob


def main():
    here = Path(__file__).parent
    golden = {}
    for net in NETS:
        model = build(net)
        single = build(net).float()
        names = choose(net, model, single)
        x = torch.from_numpy(np.concatenate([picture(name, (1, 3, SIDE, SIDE)) for name in names]))
        with torch.no_grad():
            top = forward(model, x.double()).argmax(1)
        # A likely class and an unlikely one.
        labels = torch.tensor([int(top[0]), 7])
        exact = gradients(model, x.double(), labels)
        rounded = gradients(single, x, labels)
        for name, values, other in zip(["logits", "grad_target_logit", "grad_log_prob"], exact, rounded):
            golden[f"{net}.{name}"] = values.float().contiguous()
            apart = (values - other.double()).abs().amax() / values.abs().amax()
            print(f"  {name}: largest {values.abs().max():.3g}, PyTorch in single precision is {apart:.1e} of it away")
        golden[f"{net}.pictures"] = torch.tensor([int(name.split(".")[1]) for name in names])
        golden[f"{net}.labels"] = labels
    save_file(golden, here / "resnet.safetensors")


if __name__ == "__main__":
    main()
