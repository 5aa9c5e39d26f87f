"""Ten projected gradient iterations on a hashed ResNet-18, written out plainly in PyTorch, in double precision.

Needs torch, torchvision, numpy and safetensors; nets and pictures are those of ../resnet:

    OMP_NUM_THREADS=2 python make.py

Writes pgd.safetensors and prints the numbers of README.md.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent.parent / "resnet"))
from hashed import picture  # noqa: E402
from make import SIDE, build, forward  # noqa: E402

NET, PICTURE, LABEL, ITERATIONS = "resnet18", "picture.11", 7, 10
SETTINGS = {"l2": (2.0, 0.3), "linf": (8 / 255, 2 / 255)}


def evaluate(model, x):
    """The log-probability of the label (the negative cross-entropy) and its gradient."""
    x = x.clone().requires_grad_()
    objective = F.log_softmax(forward(model, x), 1)[0, LABEL]
    return float(objective.detach()), torch.autograd.grad(objective, x)[0]


def step(x, origin, gradient, norm):
    """clamp(project(x + step * direction))."""
    eps, size = SETTINGS[norm]
    if norm == "l2":
        x = x + size * gradient / (gradient.norm() + 1e-10)
        delta = x - origin
        x = origin + delta * min(1.0, eps / float(delta.norm()))
    else:
        x = origin + (x + size * gradient.sign() - origin).clamp(-eps, eps)
    return x.clamp(0, 1)


def trace(model, origin, norm):
    """Objective, gradient's length and distance from the origin at all eleven states, and the iterates."""
    x, numbers, iterates = origin, [], []
    for _ in range(ITERATIONS + 1):
        objective, gradient = evaluate(model, x)
        delta = (x - origin).norm() if norm == "l2" else (x - origin).abs().amax()
        numbers.append([objective, float(gradient.norm()), float(delta)])
        iterates.append(x)
        x = step(x, origin, gradient, norm)
    return torch.tensor(numbers, dtype=torch.float64), iterates


def main():
    origin = torch.from_numpy(picture(PICTURE, (1, 3, SIDE, SIDE)))
    model, single = build(NET), build(NET).float()
    golden = {}
    for norm in SETTINGS:
        numbers, iterates = trace(model, origin.double(), norm)
        others, rounded = trace(single, origin, norm)
        for i, name in enumerate(["objective", "gradient_l2", "delta"]):
            golden[f"{norm}.{name}"] = numbers[:, i].float().contiguous()
        golden[f"{norm}.final"] = iterates[-1].float().contiguous()
        apart = (iterates[-1] - rounded[-1].double()).abs()
        print(norm, "objective", [round(float(v), 4) for v in numbers[:, 0]])
        print("  delta", [round(float(v), 4) for v in numbers[:, 2]])
        print(f"  single precision: objective {(numbers - others).abs()[:, 0].amax():.1e}, gradient's length", end=" ")
        print(f"{((numbers - others).abs()[:, 1] / numbers[:, 1]).amax():.1e} (relative), final iterate at most", end=" ")
        print(f"{apart.amax():.1e}, {100 * (apart > 1e-5).double().mean():.3f} % of the values further than 1e-5")
    save_file(golden, Path(__file__).parent / "pgd.safetensors")


if __name__ == "__main__":
    main()
