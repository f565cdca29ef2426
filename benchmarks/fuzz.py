"""Fuzzes what reads other people's files: pictures through the image door, masks' RLE against pycocotools.

    python benchmarks/fuzz.py images --count 20000 --seed 0
    python benchmarks/fuzz.py rle --count 20000 --seed 0

Pictures: seeds in every allowed format, mode and option that Pillow can write (bit depths, palettes, transparency, interlacing, progressive,
tiled, multi-frame, EXIF orientations), each mutated: bits turned, bytes replaced by interesting ones, parts cut, doubled or moved, lengths
in headers changed, two files spliced. Whatever comes: a picture, or an ImageError; within two seconds; memory within what the door's
limits allow. Formats that Pillow can read and the door does not allow are refused for every file.
"""

import argparse
import io
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
from PIL import Image

from rivega_spacy.post.errors import ImageError
from rivega_spacy.post.images import FORMATS, read_image
from rivega_spacy.post.rle import decode_mask, encode_mask

SLOW = 2.0  # seconds of processor time: the machine may be doing other things
INTERESTING = [b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\x10\0\0", b"\xff\xff"]


def seeds() -> Iterator[tuple[str, bytes]]:
    """Format and bytes of small valid pictures."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 31, 4), dtype="uint8")
    noise[:12] = np.linspace(0, 255, 31, dtype="uint8")[None, :, None]
    base = Image.fromarray(noise, "RGBA")
    options: list[tuple[str, str, dict]] = []
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I", "I;16"):
        options += [("PNG", mode, {}), ("PNG", mode, {"optimize": True}), ("TIFF", mode, {})]
    for mode in ("L", "RGB", "CMYK"):
        options += [
            ("JPEG", mode, {"quality": 30}),
            ("JPEG", mode, {"progressive": True}),
            ("JPEG", mode, {"restart_marker_blocks": 1}),
        ]
        options += [("TIFF", mode, {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")]
    options += [("JPEG", "RGB", {"exif": _exif(turn)}) for turn in (3, 6, 9)]
    options += [
        ("TIFF", "1", {"compression": "group4"}),
        ("BMP", "1", {}),
        ("BMP", "L", {}),
        ("BMP", "P", {}),
        ("BMP", "RGB", {}),
        ("BMP", "RGBA", {}),
    ]
    options += [("GIF", "P", {}), ("GIF", "L", {}), ("GIF", "P", {"save_all": True, "append_images": [base.convert("P")] * 3})]
    options += [("WEBP", mode, extra) for mode in ("RGB", "RGBA") for extra in ({}, {"lossless": True}, {"quality": 5})]
    options += [("WEBP", "RGB", {"save_all": True, "append_images": [base.convert("RGB")] * 2})]
    options += [("AVIF", "RGB", {}), ("AVIF", "RGBA", {"quality": 20})]
    options += [
        ("PNG", "RGB", {"save_all": True, "append_images": [base.convert("RGB")] * 2}),
        ("MPO", "RGB", {"save_all": True, "append_images": [base.convert("RGB")]}),
    ]
    for kind, mode, extra in options:
        out = io.BytesIO()
        try:
            picture = base.convert("L").point(lambda value: value * 257, "I") if mode in ("I", "I;16") else base.convert(mode)
            picture.save(out, kind, **extra)
        except (OSError, ValueError, KeyError):
            continue  # a combination that this Pillow does not write
        yield kind, out.getvalue()


def _exif(turn: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif.tobytes()


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to eight changes of a file."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not changed:
            break
        place = rng.randrange(len(changed)) if rng.random() < 0.6 else rng.randrange(min(64, len(changed)))
        kind = rng.randrange(8)
        if kind <= 1:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            part = rng.choice(INTERESTING)
            changed[place : place + len(part)] = part
        elif kind == 3:
            del changed[place:]
        elif kind == 4:
            del changed[place : place + rng.randrange(1, 40)]
        elif kind == 5:
            changed[place:place] = changed[place : place + rng.randrange(1, 200)] * rng.choice((1, 2, 50))
        elif kind == 6:
            other = rng.choice(others)
            changed[place:] = other[rng.randrange(len(other)) :]
        else:
            changed[place : place + 4] = rng.randbytes(4)
    return bytes(changed)


def fuzz_images(count: int, seed: int) -> int:
    """RETURNS (int): Breaches of the promise."""
    rng = random.Random(seed)
    made = list(seeds())
    kinds = Counter(kind for kind, _ in made)
    for kind, data in made:
        try:
            read_image(data)
        except ImageError as error:
            print(f"A valid {kind} is refused: {error}")
    outcome: Counter[str] = Counter()
    breaches = 0
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    for number in range(count):
        kind, data = made[number % len(made)]
        mutant = mutate(data, rng, [other for _, other in made])
        start = time.process_time()
        try:
            picture = read_image(mutant)
            outcome["read"] += 1
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                breaches += 1
                print(f"file {number} ({kind}): a picture of shape {picture.shape}")
        except ImageError as error:
            outcome[str(error)[1:5]] += 1
        except BaseException as error:
            breaches += 1
            print(f"file {number} ({kind}): {type(error).__name__}: {error}")
        taken = time.process_time() - start
        slowest = max(slowest, taken)
        if taken > SLOW:
            breaches += 1
            print(f"file {number} ({kind}): {taken:.1f} s")
    refused = refuse_others()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{count} mutants of {len(made)} seeds ({dict(kinds)}): {dict(outcome)}; {breaches} breaches; slowest {1000 * slowest:.0f} ms; "
        f"memory {before / 1024:.0f} -> {after / 1024:.0f} MiB at most; {time.perf_counter() - begun:.0f} s; {refused}"
    )
    return breaches


def refuse_others() -> str:
    """Every format that Pillow can write and the door does not allow. RAISES (AssertionError): Where one is read."""
    Image.registered_extensions()  # makes Pillow know all of its formats
    refused = []
    for kind in sorted(Image.SAVE):
        if kind in (*FORMATS, "MPO"):
            continue
        out = io.BytesIO()
        try:
            Image.new("RGB", (20, 20), (200, 10, 10)).save(out, kind)
        except Exception:  # writers that need a program or another mode
            continue
        try:
            read_image(out.getvalue())
        except ImageError:
            refused.append(kind)
        else:
            raise AssertionError(f"{kind} is read")
    return f"refused, as they should be: {', '.join(refused)}"


def fuzz_rle(count: int, seed: int) -> int:
    """RETURNS (int): Differences from pycocotools on valid masks, and damaged RLE that ends in anything but an error of ours."""
    from pycocotools import mask as coco

    rng = random.Random(seed)
    breaches = 0
    outcome: Counter[str] = Counter()
    for number in range(count):
        height, width = rng.randrange(1, 60), rng.randrange(1, 60)
        mask = np.frombuffer(rng.randbytes(height * width), dtype="uint8").reshape(height, width) < rng.choice((1, 40, 128, 255))
        mine = encode_mask(mask)
        theirs = coco.encode(np.asfortranarray(mask.astype("uint8")))
        if mine["counts"] != theirs["counts"].decode() or not (decode_mask(mine) == mask).all():
            breaches += 1
            print(f"mask {number}: not as pycocotools")
        counts = bytearray(mine["counts"].encode())
        for _ in range(rng.choice((1, 2, 5))):
            counts[rng.randrange(len(counts))] = rng.randrange(48, 112) if rng.random() < 0.9 else rng.randrange(256)
        try:
            decoded = decode_mask({"size": [height, width], "counts": counts.decode("latin-1")})
            outcome["decoded"] += 1
            if decoded.shape != (height, width):
                breaches += 1
        except Exception as error:
            outcome[type(error).__name__] += 1
            if type(error).__module__.split(".")[0] != "rivega_spacy":
                breaches += 1
                print(f"mask {number}: {type(error).__name__}: {error}")
    print(f"{count} masks and as many damaged ones: {dict(outcome)}; {breaches} breaches")
    return breaches


def main() -> None:
    """Run a fuzzer; status 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("images", "rle"))
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run = fuzz_images if arguments.what == "images" else fuzz_rle
    sys.exit(1 if run(arguments.count, arguments.seed) else 0)


if __name__ == "__main__":
    main()
