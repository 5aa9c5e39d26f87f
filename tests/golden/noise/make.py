"""The first normal numbers of a sample's noise, by an independent implementation of src/generator/noise.rs.

Only the standard library: python3 make.py > seed17.in
"""

import math
import struct

MASK = 0xFFFFFFFF
CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
SEED, SAMPLING_0, COUNT = 17, 0, 8


def quarter_round(s, a, b, c, d):
    """RFC 8439, section 2.1."""
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & MASK
        s[z] ^= s[x]
        s[z] = ((s[z] << turn) | (s[z] >> (32 - turn))) & MASK


def block(key, tail):
    """RFC 8439, section 2.3: sixteen output words; `tail` are words 12 to 15 (counter and nonce)."""
    start = [*CONSTANTS, *struct.unpack("<8I", key), *tail]
    s = list(start)
    for _ in range(10):
        for i in range(4):
            quarter_round(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter_round(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return [(x + y) & MASK for x, y in zip(s, start)]


def check_against_the_rfc():
    """Test vector of RFC 8439, section 2.3.2."""
    nonce = bytes.fromhex("000000090000004a00000000")
    found = struct.pack("<16I", *block(bytes(range(32)), (1, *struct.unpack("<3I", nonce))))
    expected = bytes.fromhex(
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )
    assert found == expected, found.hex()


def words64(seed, nonce):
    """64-bit words of the stream: 64-bit block counter, 64-bit nonce, low half of a word first."""
    key = struct.pack("<Q", seed) + bytes(24)
    counter = 0
    while True:
        words = block(key, struct.unpack("<4I", struct.pack("<QQ", counter, nonce)))
        for low, high in zip(words[::2], words[1::2]):
            yield (high << 32) | low
        counter += 1


def normals(seed, nonce):
    """Box-Muller on the upper 53 bits of each word."""
    uniform = ((word >> 11) / 2**53 for word in words64(seed, nonce))
    while True:
        radius = math.sqrt(-2.0 * math.log(1.0 - next(uniform)))
        angle = 2.0 * math.pi * next(uniform)
        yield radius * math.cos(angle)
        yield radius * math.sin(angle)


def grouped(value):
    """A Rust literal with its digits in groups of three."""
    whole, fraction = f"{value:.15f}".split(".")
    return whole + "." + "_".join(fraction[i : i + 3] for i in range(0, 15, 3))


check_against_the_rfc()
stream = normals(SEED, SAMPLING_0)
print("[\n" + "".join(f"    {grouped(next(stream))},\n" for _ in range(COUNT)) + "]")
