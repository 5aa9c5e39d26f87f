"""Converts a network of NVlabs' EDM, a pickle with Python source code inside, to a .safetensors file that Lapidary opens.

Needs torch and safetensors, but neither EDM's repository nor a GPU:

    python models/convert_edm.py edm-imagenet-64x64-cond-adm.pkl edm-imagenet-64x64-cond-adm.safetensors

The code in the pickle is not run: its objects become plain containers, of which only the tensors are read. Names and values
stay NVlabs' own; Lapidary maps them when it opens the file. Only the ADM network (DhariwalUNet) is of use there.
"""

import argparse
import io
import pickle

import torch
from safetensors.torch import save_file

# What tensors are rebuilt from; everything else in the pickle is inert.
ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


class Container:
    """Stands for every object: holds attributes and does nothing."""

    def __new__(cls, *_args, **_kwargs):
        return super().__new__(cls)

    def __init__(self, *_args, **_kwargs):
        pass

    def __setstate__(self, state):
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __setitem__(self, key, value):
        self.__dict__[key] = value

    def append(self, _item):
        pass

    def extend(self, _items):
        pass


def reconstruct(meta):
    """In place of torch_utils.persistence: the state without the code."""
    container = Container()
    container.__setstate__(meta["state"])
    return container


def storage(data):
    """In place of torch.storage._load_from_bytes, which would unpickle anything."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) in ALLOWED:
            return super().find_class(module, name)
        if (module, name) == ("torch_utils.persistence", "_reconstruct_persistent_obj"):
            return reconstruct
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return storage
        return Container


def tensors(module, prefix=""):
    """Parameters and buffers by their dotted names."""
    for table in ["_parameters", "_buffers"]:
        for name, value in getattr(module, table, {}).items():
            if value is not None:
                yield prefix + name, value
    for name, child in getattr(module, "_modules", {}).items():
        if child is not None:
            yield from tensors(child, f"{prefix}{name}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pickle", help="the .pkl file")
    parser.add_argument("safetensors", help="the file to write")
    arguments = parser.parse_args()
    try:
        with open(arguments.pickle, "rb") as file:
            if file.read(4) == b"PK\x03\x04":
                parser.error(
                    f"{arguments.pickle} is a zip archive, such as a training state: "
                    "take the network-snapshot-*.pkl of the same training"
                )
            file.seek(0)
            data = Unpickler(file).load()
    except OSError as error:
        parser.error(f"{arguments.pickle} cannot be read: {error.strerror}")
    except (pickle.UnpicklingError, EOFError) as error:
        parser.error(f"{arguments.pickle} is no whole pickle: {error}")
    network = data.get("ema") if isinstance(data, dict) else data
    # The filters of the resampling are constants.
    found = {name: value for name, value in tensors(network) if not name.endswith("resample_filter")}
    if not found:
        parser.error(f"{arguments.pickle} holds no network under \"ema\"")
    save_file({name: value.detach().contiguous().clone() for name, value in found.items()}, arguments.safetensors)
    print(f"{len(found)} tensors, {sum(value.numel() for value in found.values()):,} parameters")


if __name__ == "__main__":
    main()
