"""Fuzzes what reads other people's files: pictures through the image door, masks' RLE and polygons against pycocotools.

    python benchmarks/fuzz.py images --count 20000 --seed 0
    python benchmarks/fuzz.py rle --count 20000 --seed 0
    python benchmarks/fuzz.py polygons --count 20000 --seed 0
    python benchmarks/fuzz.py lines --count 100000 --seed 0
    python benchmarks/fuzz.py convert --count 100000 --seed 0
    python benchmarks/fuzz.py queue --count 100000 --seed 0
    python benchmarks/fuzz.py service --count 100000 --seed 0

Pictures: so many files of every allowed format, made of the seeds of fuzz_seeds.py: bits turned, bytes replaced by interesting ones, parts cut,
doubled or moved, lengths in headers changed, checksums corrected again, two files spliced. Whatever comes: a picture, or an ImageError; within two
seconds of processor time; memory within what RIVEGA_MAX_PIXELS allows. No decoder of another format that Pillow knows is ever begun, and files of
those formats are refused.

Lines: a file of so many posts, most of them damaged or of strangers' making, annotated by a pipeline of rules: a result for every line, in
order, those that are posts answered and the others with what is wrong with them. Service and queue: the same lines sent to `rivega serve` by four
clients at once, and corrected in it. Convert: annotated posts whose fields hold anything. See fuzz_lines.py and fuzz_service.py.
"""

import argparse
import io
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from fuzz_lines import fuzz_convert, fuzz_lines, fuzz_queue
from fuzz_seeds import seeds
from fuzz_service import fuzz_service
from PIL import Image

from rivega_spacy.corpus.formats.polygons import polygons_to_rle
from rivega_spacy.corpus.formats.segmentations import read_segmentation
from rivega_spacy.post.errors import ImageError, RivegaError
from rivega_spacy.post.images import FORMATS, read_image
from rivega_spacy.post.rle import decode_mask, encode_mask

SLOW = 2.0  # seconds of processor time: the machine may be doing other things
INTERESTING = [b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\x10\0\0", b"\xff\xff"]


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


def correct_checksums(data: bytes) -> bytes:
    """A PNG with the checksums that its chunks should have, so that what was changed in them gets past the first check."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    whole, place = data[:8], 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        whole += data[place:end] + struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return whole + data[place:]


def fuzz_images(count: int, seed: int) -> int:
    """RETURNS (int): Breaches of the promise."""
    made: dict[str, list[bytes]] = {}
    for kind, data in seeds():
        # Several pictures in a JPEG: of the same format for the door.
        made.setdefault("JPEG" if kind == "MPO" else kind, []).append(data)
    missing = set(FORMATS) - set(made)
    if missing:
        raise SystemExit(f"This Pillow writes no {', '.join(sorted(missing))}: nothing to begin with.")
    begun = watch_other_decoders()
    everything = [data for files in made.values() for data in files]
    breaches = 0
    for kind in sorted(made):
        breaches += fuzz_format(kind, made[kind], everything, count, random.Random(f"{seed} {kind}"))
    print(refuse_others())
    if begun:
        print(f"Decoders of other formats were begun: {dict(Counter(begun))}")
    print(f"{breaches + len(begun)} breaches")
    return breaches + len(begun)


def fuzz_format(kind: str, files: list[bytes], others: list[bytes], count: int, rng: random.Random) -> int:
    """RETURNS (int): Breaches of the promise with files of one format."""
    read = sum(not isinstance(outcome_of(data), ImageError) for data in files)
    outcome: Counter[str] = Counter()
    breaches, slowest, most = 0, 0.0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    for number in range(count):
        mutant = mutate(files[number % len(files)], rng, others)
        if kind == "PNG" and number % 2:
            mutant = correct_checksums(mutant)
        start = time.process_time()
        found = outcome_of(mutant)
        taken = time.process_time() - start
        slowest = max(slowest, taken)
        if isinstance(found, np.ndarray):
            outcome["read"] += 1
            most = max(most, found.shape[0] * found.shape[1])
            bad = "" if found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3 else f"a picture of shape {found.shape}"
        else:
            outcome[str(found)[1:5] if isinstance(found, ImageError) else type(found).__name__] += 1
            bad = "" if isinstance(found, ImageError) else f"{type(found).__name__}: {found}"
        bad = bad or (f"{taken:.1f} s" if taken > SLOW else "")
        if bad:
            breaches += 1
            print(f"{kind}, file {number}: {bad}")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{kind}: {count} mutants of {len(files)} seeds ({read} of them valid for Pillow): {dict(outcome.most_common())}; slowest {1000 * slowest:.0f} ms; "
        f"largest read {most / 1e6:.1f} million pixels; memory of the process {before / 1024:.0f} -> {after / 1024:.0f} MiB at most; "
        f"{time.perf_counter() - begun:.0f} s",
        flush=True,
    )
    return breaches


def outcome_of(data: bytes) -> np.ndarray | BaseException:
    """What the door makes of a file: pixels, or what it raises."""
    try:
        return read_image(data)
    except BaseException as error:  # SystemExit and its like are breaches as well
        return error


def watch_other_decoders() -> list[str]:
    """RETURNS (List[str]): To which the name of each decoder is added that Pillow begins for a format that is not allowed."""
    Image.registered_extensions()  # makes Pillow know all of its formats
    begun: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        def begin(*arguments: Any) -> Any:
            begun.append(name)
            raise SyntaxError(name)

        return begin

    for name, (_, accept) in list(Image.OPEN.items()):
        if name not in (*FORMATS, "MPO"):
            Image.OPEN[name] = (watched(name), accept)
    return begun


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


def fuzz_polygons(count: int, seed: int) -> int:
    """RETURNS (int): Outlines that are drawn otherwise than by pycocotools, and malformed ones that end in anything but an error of ours."""
    from pycocotools import mask as coco

    rng = random.Random(seed)
    breaches = 0
    outcome: Counter[str] = Counter()
    for number in range(count):
        height, width = rng.randrange(1, 80), rng.randrange(1, 80)
        polygons = [_outline(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        theirs = coco.decode(
            coco.merge(coco.frPyObjects([[x for point in points for x in point] for points in polygons], height, width))
        )
        if not (decode_mask(polygons_to_rle(polygons, height, width)) == theirs.astype(bool)).all():
            breaches += 1
            print(f"outline {number}: not as pycocotools: {polygons} in {height} x {width}")
        try:
            drawing, rle = read_segmentation(_malformed(rng, polygons, 0))
            outcome["nothing" if drawing is None and rle is None else "drawn"] += 1
        except (RivegaError, ValueError) as error:
            outcome[type(error).__name__] += 1
        except BaseException as error:
            breaches += 1
            print(f"outline {number}: {type(error).__name__}: {error}")
    print(f"{count} outlines and as many malformed ones: {dict(outcome)}; {breaches} breaches")
    return breaches


def _outline(rng: random.Random) -> list[list[float]]:
    """Whole, half, fifth and tenth pixels are where rounding could differ; the rest is anything, far outside too."""
    kind = rng.randrange(6)
    spread = rng.choice((5, 60, 60, 3000))

    def number() -> float:
        value = rng.uniform(-0.5 * spread, spread)
        return (value, round(value), round(2 * value) / 2, round(5 * value) / 5, round(10 * value) / 10, rng.uniform(0, 40))[kind]

    return [[float(number()), float(number())] for _ in range(rng.randrange(3, 12))]


def _malformed(rng: random.Random, value: Any, depth: int) -> Any:
    """A polygon with some of its parts replaced by what JSON may hold there."""
    if rng.random() < 0.08:
        deep: list[Any] = []
        for _ in range(rng.choice((3, 300))):
            deep = [deep]
        return rng.choice(
            (
                None,
                True,
                "5",
                "x",
                [],
                {},
                1e308,
                -1e308,
                float("nan"),
                float("inf"),
                10**400,
                deep,
                {"x": 1, "y": 2},
                {"size": [3, 3], "counts": "9"},
            )
        )
    if isinstance(value, list) and depth < 4:
        items = [_malformed(rng, item, depth + 1) for item in value]
        return items[: rng.randrange(len(items) + 1)] if rng.random() < 0.05 else items
    return value


def main() -> None:
    """Run a fuzzer; status 1 where a promise was broken."""
    fuzzers = {
        "images": fuzz_images,
        "rle": fuzz_rle,
        "polygons": fuzz_polygons,
        "lines": fuzz_lines,
        "convert": fuzz_convert,
        "queue": fuzz_queue,
        "service": fuzz_service,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=fuzzers)
    parser.add_argument("--count", type=int, default=20_000, help="files of every format; masks; outlines; lines")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.exit(1 if fuzzers[arguments.what](arguments.count, arguments.seed) else 0)


if __name__ == "__main__":
    main()
