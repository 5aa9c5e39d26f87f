"""Outputs of the original U-Net of guided diffusion in the forms that consistency models do not use, with hashed weights.

Needs torch, numpy, safetensors and a copy of openai/guided-diffusion:

    OMP_NUM_THREADS=2 python make.py PATH_OF_THE_COPY

Writes guided_diffusion.safetensors and prints the numbers of README.md. Weights are those of ../resnet/hashed.py.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, str(Path(__file__).parent.parent / "resnet"))
from guided_diffusion.unet import UNetModel  # noqa: E402
from hashed import tensor, uniform  # noqa: E402

SIDE, CLASSES = 16, 4
COMMON = {"image_size": SIDE, "in_channels": 3, "model_channels": 32, "num_res_blocks": 1, "attention_resolutions": (2,)}
CASES = {
    # As the ImageNet models of 128 to 512 pixels: heads before q, k and v; variances learned.
    "legacy": {
        "out_channels": 6,
        "channel_mult": (1, 2),
        "num_classes": CLASSES,
        "num_head_channels": 16,
        "use_scale_shift_norm": True,
        "resblock_updown": True,
    },
    # As the older models: resampling by convolutions, a fixed number of heads.
    "conv": {"out_channels": 6, "channel_mult": (1, 2), "num_heads": 4, "use_scale_shift_norm": True},
    # A wide first level, attention at it, no scale and shift.
    "wide": {
        "out_channels": 3,
        "channel_mult": (2, 1),
        "attention_resolutions": (1, 2),
        "num_heads": 2,
        "use_new_attention_order": True,
    },
}


def main():
    golden = {
        "x": torch.from_numpy(uniform("unet.x", 2 * 3 * SIDE * SIDE).reshape(2, 3, SIDE, SIDE)),
        "times": torch.tensor([3.0, 712.5]),
        "labels": torch.tensor([3, 0]),
    }
    for case, arguments in CASES.items():
        model = UNetModel(**{**COMMON, **arguments}).eval()
        state = {name: torch.from_numpy(tensor(name, tuple(v.shape))) for name, v in model.state_dict().items()}
        model.load_state_dict(state)
        labels = golden["labels"] if "num_classes" in arguments else None
        with torch.no_grad():
            single = model(golden["x"], golden["times"], labels)
            exact = double(model, golden["x"], golden["times"], labels)
        golden[f"{case}.out"] = exact[:, :3].float().contiguous()
        apart = (single - exact).abs().amax()
        size = sum(value.numel() for value in state.values())
        print(f"{case}: {len(state)} tensors, {size} numbers, largest {exact[:, :3].abs().amax():.3g}", end=", ")
        print(f"the other channels {[round(float(v), 3) for v in exact[0, :, 0, 0]]}, single precision {apart:.1e} away")
    save_file(golden, Path(__file__).parent / "guided_diffusion.safetensors")


def double(model, x, times, labels):
    """The same in double precision; the time embedding stays single, as the original computes it."""
    model = model.double()
    model.dtype = torch.float64
    embed = model.time_embed
    model.time_embed = torch.nn.Sequential(ToDouble(), *embed)
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            # The original's group norm rounds to single precision.
            module.forward = lambda value, norm=module: torch.nn.functional.group_norm(
                value, norm.num_groups, norm.weight, norm.bias, norm.eps
            )
    return model(x.double(), times, labels)


class ToDouble(torch.nn.Module):
    """Widens its input."""

    def forward(self, x):
        return x.double()


if __name__ == "__main__":
    main()
