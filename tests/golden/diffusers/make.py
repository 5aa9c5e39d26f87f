"""A tiny class-conditional consistency model as diffusers saves it, and what diffusers computes with it.

Needs torch, diffusers, numpy and safetensors:

    OMP_NUM_THREADS=2 python make.py

Writes the pipeline's folder (weights in half precision) and diffusers.safetensors, and prints the numbers of README.md.
The architecture's options are those of openai/diffusers-cd_imagenet64_l2, smaller.
"""

import shutil
from pathlib import Path

import torch
from diffusers import CMStochasticIterativeScheduler, ConsistencyModelPipeline, UNet2DModel
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "tiny-consistency"
SIDE, CLASSES, SEED = 16, 4, 20
UNET = {
    "sample_size": SIDE,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 1,
    "num_class_embeds": CLASSES,
    "block_out_channels": [32, 64],
    "attention_head_dim": 16,
    "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "resnet_time_scale_shift": "scale_shift",
    "attn_norm_num_groups": 32,
    "upsample_type": "resnet",
    "downsample_type": "resnet",
    "num_train_timesteps": 40,
}
SCHEDULER = {"num_train_timesteps": 40, "sigma_min": 0.002, "sigma_max": 80.0}


def save():
    """Random weights, none left at a special initialisation, rounded to half precision and saved."""
    torch.manual_seed(SEED)
    unet = UNet2DModel(**UNET)
    for name, value in unet.named_parameters():
        if value.ndim >= 2:
            fan_in = value[0].numel() if "embedding" not in name or "linear" in name else 1
            torch.nn.init.normal_(value, std=fan_in**-0.5)
        elif name.endswith("weight"):
            torch.nn.init.uniform_(value, 0.75, 1.25)
        else:
            torch.nn.init.uniform_(value, -0.1, 0.1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    pipeline = ConsistencyModelPipeline(unet=unet.half(), scheduler=CMStochasticIterativeScheduler(**SCHEDULER))
    pipeline.save_pretrained(FOLDER)


def denoise(pipeline, x, sigmas, labels):
    """The scheduler's formulas around the network, sample by sample; not clamped."""
    scheduler, results = pipeline.scheduler, []
    for i, sigma in enumerate(sigmas):
        c_skip, c_out = scheduler.get_scalings_for_boundary_condition(sigma)
        sigma_data = scheduler.config.sigma_data
        time = scheduler.sigma_to_t(sigma.numpy().reshape(1))
        scaled = x[i : i + 1] / (sigma**2 + sigma_data**2) ** 0.5
        raw = pipeline.unet(scaled, torch.from_numpy(time).float(), class_labels=labels[i : i + 1]).sample
        results.append(c_out * raw + c_skip * x[i : i + 1])
    return torch.cat(results)


def main():
    save()
    pipeline = ConsistencyModelPipeline.from_pretrained(FOLDER, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    torch.manual_seed(SEED + 1)
    sigmas, labels = torch.tensor([0.5, 80.0, 4.0]), torch.tensor([1, 3, 0])
    noise = torch.randn(3, 3, SIDE, SIDE)
    golden = {"labels": labels, "sigmas": sigmas, "noise": noise}
    golden["x"] = noise * (sigmas.view(3, 1, 1, 1) ** 2 + 0.25).sqrt()
    times = 250 * (sigmas + 1e-44).log()
    with torch.no_grad():
        golden["times"] = times
        golden["out"] = pipeline.unet(noise, times, class_labels=labels).sample
        golden["denoised"] = denoise(pipeline, golden["x"], sigmas, labels)
        # Pictures in [-1, 1]; the scheduler multiplies the noise by sigma_max.
        golden["onestep"] = 2 * pipeline(
            batch_size=3, class_labels=labels, latents=noise.clone(), num_inference_steps=1, output_type="pt"
        ).images - 1
        double = pipeline.unet.double()
        exact = double(noise.double(), times.double(), class_labels=labels).sample
    for name in ["out", "denoised", "onestep"]:
        print(f"{name}: largest {golden[name].abs().max():.3g}")
    print(f"out: single precision is {(golden['out'] - exact).abs().max():.1e} away from double (time embedding too)")
    save_file({name: value.contiguous() for name, value in golden.items()}, FOLDER.parent / "diffusers.safetensors")


if __name__ == "__main__":
    main()
