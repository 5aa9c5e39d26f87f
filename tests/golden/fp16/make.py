"""A net of ../consistency_models in half precision, in PyTorch's file format from before 1.6.

Needs torch, numpy, safetensors and a copy of openai/guided-diffusion (for the numbers of README.md):

    OMP_NUM_THREADS=2 python make.py PATH_OF_THE_COPY

Writes lsun_shape_tiny.fp16.legacy.pt.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from guided_diffusion.unet import UNetModel  # noqa: E402

HERE = Path(__file__).parent
SOURCE = HERE.parent / "consistency_models"
NAME = "lsun_shape_tiny"


def denoiser(state, golden):
    """The consistency form of the denoiser on the stored noisy pictures, not clamped."""
    model = UNetModel(
        image_size=32,
        in_channels=3,
        model_channels=32,
        out_channels=3,
        num_res_blocks=1,
        attention_resolutions=(2, 4),
        channel_mult=(1, 1, 2),
        num_head_channels=32,
        resblock_updown=True,
        use_new_attention_order=True,
    ).eval()
    shapes = model.state_dict()
    model.load_state_dict({name: value.float().reshape(shapes[name].shape) for name, value in state.items()})
    sigma = golden["cm.sigma"].view(-1, 1, 1, 1)
    c_skip = 0.25 / ((sigma - 0.002) ** 2 + 0.25)
    c_out = (sigma - 0.002) * 0.5 / (sigma**2 + 0.25).sqrt()
    x = golden["cm.x_t"]
    with torch.no_grad():
        return c_skip * x + c_out * model(x / (sigma**2 + 0.25).sqrt(), 250 * golden["cm.sigma"].log())


def main():
    state = torch.load(SOURCE / f"{NAME}.pt", weights_only=True)
    half = {name: value.half() for name, value in state.items()}
    torch.save(half, HERE / f"{NAME}.fp16.legacy.pt", _use_new_zipfile_serialization=False)
    # Half a unit in the last place: 2^-11 of the value, or of the smallest normal number below that.
    bounds = {name: value.abs().clamp_min(2**-14) * 2**-11 for name, value in state.items()}
    apart = max(float(((value - half[name].float()).abs() / bounds[name]).max()) for name, value in state.items())
    print(f"weights: at most {apart:.3f} of the rounding bound apart")
    golden = load_file(SOURCE / f"{NAME}.golden.safetensors")
    reference = golden["cm.denoised"]
    print(f"in single precision: {(denoiser(state, golden) - reference).abs().max():.1e} from the reference")
    apart = (denoiser(half, golden) - reference).abs()
    print(f"weights in half precision: {apart.max():.1e} at most, {apart.mean():.1e} on average")
    print(f"sigmas {golden['cm.sigma'].tolist()}, largest value {reference.abs().max():.3g}")


if __name__ == "__main__":
    main()
