"""Weights and pictures from an integer hash, so that nets of any size need no file.

Value i of tensor `name` comes from splitmix64(fnv1a64(name) + i): its upper 24 bits are k, and u = k / 2^23 - 1 lies in
[-1, 1), exactly representable. tests/values/hashed.rs computes the same numbers; both use single precision from u on.
"""

import numpy as np

LABEL_EMBEDDING = "label_emb.weight"


def fnv1a64(name):
    """The hash of the name's bytes (Fowler, Noll, Vo)."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    return state


def bits(name, count):
    """24 bits per value: the upper ones of splitmix64's outputs (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(name)) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))) >> np.uint64(40)


def uniform(name, count):
    """Uniform in [-1, 1)."""
    return bits(name, count).astype(np.float32) / np.float32(2**23) - np.float32(1)


def picture(name, shape):
    """Uniform in [0, 1)."""
    return (bits(name, int(np.prod(shape))).astype(np.float32) / np.float32(2**24)).reshape(shape)


def tensor(name, shape, conv_gain=3.0, last_norm=None):
    """A parameter of a net whose activations stay of order 1.

    Matrices and kernels: u sqrt(gain / fan_in), where gain is 3 for matrices and `conv_gain` for kernels (6 before a ReLU);
    embeddings: u; scales and variances of norms: 1 + u/4, times 0.3 for the norm called `last_norm` of every residual
    block; everything else: u/10.
    """
    u = uniform(name, int(np.prod(shape)))
    if name == LABEL_EMBEDDING:
        value = u
    elif len(shape) >= 2:
        gain = 3.0 if len(shape) == 2 else conv_gain
        value = u * np.float32(np.sqrt(gain / int(np.prod(shape[1:]))))
    elif name.endswith(("running_var", "weight")):
        value = np.float32(1) + np.float32(0.25) * u
        if last_norm is not None and name.endswith(f".{last_norm}.weight"):
            value = value * np.float32(0.3)
    else:
        value = np.float32(0.1) * u
    return value.reshape(shape)
