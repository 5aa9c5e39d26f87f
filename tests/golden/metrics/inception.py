"""Features of Inception-2015 with hashed weights (../resnet/hashed.py) in three dialects, and pictures resized: see README.md.

Needs torch, torchvision, numpy, pillow, safetensors, pytorch-fid, torch-fidelity and clean-fid:

    OMP_NUM_THREADS=2 python inception.py

Writes inception.safetensors, resized.safetensors and scripted.pt, and prints the numbers of README.md.
"""

import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent.parent / "resnet"))
from hashed import bits, tensor  # noqa: E402

from cleanfid.resize import build_resizer, make_resizer  # noqa: E402
from pytorch_fid import inception as pytorch_fid  # noqa: E402
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: E402
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x  # noqa: E402

# Height and width: one is enlarged, the other made smaller in one direction and larger in the other.
SIZES = {"small": (48, 64), "large": (401, 250)}
# Of the features, logits and spatial features, every so manyth is kept.
EVERY = {"features": 8, "logits": 9, "spatial": 17}


def levels(name, size):
    """A picture of 8 bits, [3, H, W]."""
    return (bits(f"picture.{name}", 3 * size[0] * size[1]) >> np.uint64(16)).astype(np.uint8).reshape(3, *size)


def weights():
    """The tensors of pytorch-fid's file, hashed."""
    with mock.patch.object(torch.nn.Module, "load_state_dict"), mock.patch.object(
        pytorch_fid, "load_state_dict_from_url"
    ):
        shapes = {name: tuple(value.shape) for name, value in pytorch_fid.fid_inception_v3().state_dict().items()}
    names = [name for name in shapes if not name.endswith("num_batches_tracked")]
    return {name: torch.from_numpy(tensor(name, shapes[name], conv_gain=6.0)) for name in names}


def networks(state):
    """pytorch-fid's with and without its own resize, and torch-fidelity's."""
    with mock.patch.object(pytorch_fid, "load_state_dict_from_url", return_value=state):
        own = pytorch_fid.InceptionV3().eval()
        bare = pytorch_fid.InceptionV3(resize_input=False, normalize_input=False).eval()
    with tempfile.NamedTemporaryFile() as file:
        torch.save(state, file.name)
        names = ["2048", "logits_unbiased"]
        other = FeatureExtractorInceptionV3("inception", names, feature_extractor_weights_path=file.name)
    return own, bare, other


def with_spatial(branch, run):
    """What `run` gives, and the first seven channels of a branch at 17x17, the channels of a pixel beside each other."""
    kept = []
    hook = branch.register_forward_hook(lambda _, __, y: kept.append(y))
    found = run()
    hook.remove()
    return found, kept[0][:, :7].permute(0, 2, 3, 1).reshape(-1)


@torch.no_grad()
def features():
    """Features, logits without bias and spatial features by dialect and picture."""
    state = weights()
    own, bare, other = networks(state)
    matrix = state["fc.weight"]
    clean = build_resizer("clean")
    found = {}
    for name, size in SIZES.items():
        picture = torch.from_numpy(levels(name, size))[None]
        run = {
            "tensorflow": (other.Mixed_6d.branch1x1, lambda: other(picture)[0]),
            "pytorch-fid": (own.blocks[2][6].branch1x1, lambda: own(picture.float() / 255)[0]),
        }
        made = torch.from_numpy(clean(picture[0].permute(1, 2, 0).numpy())).permute(2, 0, 1)[None]
        run["clean"] = (bare.blocks[2][6].branch1x1, lambda: bare((made - 128) / 128)[0])
        for dialect, (branch, forward) in run.items():
            seen, spatial = with_spatial(branch, forward)
            seen = seen.reshape(1, -1)
            every = {"features": seen[0], "logits": seen.mm(matrix.T)[0], "spatial": spatial}
            if dialect == "tensorflow":
                assert torch.allclose(every["logits"], other(picture)[1][0], atol=1e-4)
            for kind, values in every.items():
                print(dialect, name, kind, len(values), "of", float(values.abs().mean()), float(values.abs().max()))
                found[f"{dialect}.{name}.{kind}"] = values[:: EVERY[kind]].numpy().copy()
    save_file(found, "inception.safetensors")


def resized():
    """One channel of every picture, made smaller and larger by three programs, in [0, 1]."""
    clean_of = lambda to: make_resizer("PIL", False, "bicubic", (to[1], to[0]))  # noqa: E731
    found = {}
    for name, size, to in [("up", (5, 7), (13, 11)), ("down", (23, 31), (9, 6)), ("mixed", (12, 20), (25, 8))]:
        picture = levels(name, size)
        floats = torch.from_numpy(picture.astype(np.float32) / np.float32(255))[None]
        tensorflow = interpolate_bilinear_2d_like_tensorflow1x(floats, size=to, align_corners=False)
        torch_one = F.interpolate(floats, size=to, mode="bilinear", align_corners=False)
        clean = clean_of(to)(picture.transpose(1, 2, 0)).transpose(2, 0, 1) / np.float32(255)
        found[f"{name}.size"] = np.array([*size, *to], dtype=np.int64)
        found[f"{name}.tensorflow"] = tensorflow[0, 0].numpy().copy()
        found[f"{name}.pytorch-fid"] = torch_one[0, 0].numpy().copy()
        found[f"{name}.clean"] = clean[0].astype(np.float32).copy()
    save_file(found, "resized.safetensors")


class Layer(torch.nn.Module):
    """As the layers of NVIDIA's file: no parts, tensors of its own."""

    def __init__(self, name, c_in, c_out):
        super().__init__()
        self.padding = [0, 1]
        self.weight = torch.nn.Parameter(torch.from_numpy(tensor(f"{name}.weight", (c_out, c_in, 1, 3))))
        self.beta = torch.nn.Parameter(torch.from_numpy(tensor(f"{name}.beta", (c_out,))))
        self.register_buffer("mean", torch.from_numpy(tensor(f"{name}.mean", (c_out,))))

    def forward(self, x):
        return F.conv2d(x, self.weight, self.beta, padding=self.padding) - self.mean[None, :, None, None]


def scripted():
    """A small program of TorchScript: two layers of one class, and one tensor that two modules share."""
    torch.manual_seed(0)
    net = torch.nn.Module()
    layers = torch.nn.Sequential()
    layers.add_module("conv", Layer("layers.conv", 2, 3))
    layers.add_module("conv_1", Layer("layers.conv_1", 3, 2))
    layers.conv_1.beta = torch.nn.Parameter(layers.conv.mean[:2].clone())

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers
            self.again = layers.conv
            self.output = torch.nn.Linear(2, 4)

        def forward(self, x):
            return self.output(self.layers(x).mean([2, 3])) + self.again(x).mean()

    net = Net()
    net.output.weight = torch.nn.Parameter(torch.from_numpy(tensor("output.weight", (4, 2))))
    net.output.bias = torch.nn.Parameter(torch.from_numpy(tensor("output.bias", (4,))))
    torch.jit.script(net).save("scripted.pt")


if __name__ == "__main__":
    scripted()
    resized()
    features()
