"""The peer of `lapidary bench --generator … --classifier …`: PyTorch on the CPU, the same networks at their published size.

    python full_size.py make FOLDER      random weights: a diffusers folder (ImageNet-64 U-Net, 296 M parameters) and
                                         wide_resnet50_2.pt (torchvision)
    python full_size.py measure FOLDER   load both, generate one picture in one step, refine it two iterations; prints JSON

Needs torch, torchvision, diffusers, safetensors. The consistency preconditioning and the update (L2, radius 3, step 0.3,
target logit) are written out here, so that both programs do the same arithmetic.
"""

import json
import resource
import sys
import time
from pathlib import Path

SIGMA, SIGMA_DATA, SIGMA_MIN = 80.0, 0.5, 0.002
LABEL, ITERATIONS, RADIUS, STEP = 7, 2, 3.0, 0.3


def unet():
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=64,
        in_channels=3,
        out_channels=3,
        block_out_channels=(192, 384, 576, 768),
        layers_per_block=3,
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attention_head_dim=64,
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=32,
        norm_eps=1e-5,
        attn_norm_num_groups=32,
        num_class_embeds=1000,
        flip_sin_to_cos=True,
        freq_shift=0,
        act_fn="silu",
    )


def make(folder):
    import torch
    import torchvision

    torch.manual_seed(0)
    unet().save_pretrained(folder / "cd_imagenet64_random" / "unet")
    scheduler = {"_class_name": "CMStochasticIterativeScheduler", "num_train_timesteps": 40, "sigma_max": 80.0,
                 "sigma_min": 0.002, "sigma_data": 0.5, "rho": 7.0}
    place = folder / "cd_imagenet64_random" / "scheduler"
    place.mkdir(parents=True, exist_ok=True)
    (place / "scheduler_config.json").write_text(json.dumps(scheduler))
    net = torchvision.models.wide_resnet50_2(weights=None)
    torch.save(net.state_dict(), folder / "wide_resnet50_2.pt")


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder):
    import torch
    import torchvision
    from diffusers import UNet2DModel

    torch.set_num_threads(2)
    found = {"torch": torch.__version__, "threads": torch.get_num_threads(), "imports_mib": peak_mib()}

    start = time.perf_counter()
    generator = UNet2DModel.from_pretrained(folder / "cd_imagenet64_random" / "unet").eval().requires_grad_(False)
    found["load_generator_s"] = time.perf_counter() - start
    found["peak_after_generator_mib"] = peak_mib()

    label = torch.tensor([LABEL])
    x = torch.randn(1, 3, 64, 64) * SIGMA
    norm = (SIGMA**2 + SIGMA_DATA**2) ** 0.5
    shifted = SIGMA - SIGMA_MIN
    t = 250.0 * torch.log(torch.tensor([SIGMA]))
    # The first call also reads the weights, which from_pretrained only maps; the second is the network alone.
    for name in ["generate_first_s", "generate_again_s"]:
        start = time.perf_counter()
        with torch.no_grad():
            raw = generator(x / norm, t, class_labels=label).sample
            out = raw * (shifted * SIGMA_DATA / norm) + x * SIGMA_DATA**2 / (shifted**2 + SIGMA_DATA**2)
        image = (out.clamp(-1, 1) + 1) / 2
        found[name] = time.perf_counter() - start
    found["peak_after_generating_mib"] = peak_mib()

    start = time.perf_counter()
    classifier = torchvision.models.wide_resnet50_2(weights=None)
    classifier.load_state_dict(torch.load(folder / "wide_resnet50_2.pt", weights_only=True))
    classifier.eval().requires_grad_(False)
    found["load_classifier_s"] = time.perf_counter() - start

    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    iterate, steps = image, []
    # The start is evaluated too, as Lapidary does: k iterations have k+1 states.
    for k in range(ITERATIONS + 1):
        start = time.perf_counter()
        leaf = iterate.clone().requires_grad_(True)
        logit = classifier((leaf - mean) / std)[0, LABEL]
        (gradient,) = torch.autograd.grad(logit, leaf)
        if k < ITERATIONS:
            moved = iterate + STEP * gradient / (gradient.norm() + 1e-10)
            delta = moved - image
            moved = image + delta * min(1.0, RADIUS / float(delta.norm()))
            iterate = moved.clamp(0, 1)
        steps.append(time.perf_counter() - start)
    found["evaluate_start_and_iterations_s"] = steps
    found["peak_mib"] = peak_mib()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    {"make": make, "measure": measure}[sys.argv[1]](Path(sys.argv[2]))
