"""Feed damaged, mixed, wrongly encoded and hostile input to every reader, and demand that counts add up and nothing raises.

Run from the repository: `PYTHONPATH=src python -m bench.fuzz --runs 2000 --seed 1`. The same seed gives the same inputs.
It ends with 1 when an input raised an error or its counts do not add up.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailwitness import tables
from mailwitness.content import loader
from mailwitness.models import Exhibit
from mailwitness.sources import Intake

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "public"
# Larger samples make runs slow without saying more: damage is placed anywhere in these.
_LARGEST_SAMPLE = 96 * 1024
_PER_BATCH = 100
HOSTILE = (
    b"\x00", b"\x1b[2J", b"\xff\xfe", b"\xed\xa0\x80", b"'; DROP TABLE x; --", b'"', b"=cmd|' /C calc'!A0", b"<script>alert(1)</script>",
    b"../../../../etc/passwd", b"\xe2\x80\xae", b"{" * 300, b"[" * 300, b"9" * 400, b"-1", b"%s%n", b"\r\n\r\n", b"\\u0000", b"]]>", b"&lol9;",
)  # fmt: skip


class Seed(msgspec.Struct, frozen=True):
    """A sound sample of one source."""

    source: str
    name: str
    data: bytes


class Result(msgspec.Struct, kw_only=True):
    """What a run of the fuzzer counted.

    Attributes:
        inputs: by source of the sample; mutations: by kind.
        counts: records, loaded, duplicates, quarantined, salvaged, and inputs that were not recognised any more.
        wrong: inputs that raised, or whose counts do not add up, with their number.
    """

    inputs: Counter[str] = msgspec.field(default_factory=Counter)
    mutations: Counter[str] = msgspec.field(default_factory=Counter)
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: list[str] = msgspec.field(default_factory=list)


def seeds() -> list[Seed]:
    """Return the example of every source, and small public samples where that folder is present (binary formats are only there)."""
    found = [
        Seed(
            source.id,
            ".bash_history" if source.reader == "shell_history" else f"{source.id}.log",
            _text(source.example),
        )
        for source in sorted(loader.sources(), key=lambda item: item.id)
        if source.example.strip()
    ]
    if _PUBLIC.is_dir():
        found += [
            Seed(path.parent.name, path.name, path.read_bytes())
            for path in sorted(_PUBLIC.rglob("*"))
            if path.is_file() and path.suffix != ".md" and 0 < path.stat().st_size <= _LARGEST_SAMPLE
        ]
    return found


def _text(example: str) -> bytes:
    return example.strip().encode() + b"\n"


def _truncate(data: bytes, choose: random.Random, _other: bytes) -> bytes:
    return data[: choose.randrange(len(data))]


def _interleave(data: bytes, choose: random.Random, other: bytes) -> bytes:
    lines, others = data.splitlines(keepends=True), other.splitlines(keepends=True)
    for line in others[:50]:
        lines.insert(choose.randrange(len(lines) + 1), line)
    return b"".join(lines)


def _encode(data: bytes, choose: random.Random, _other: bytes) -> bytes:
    text = data.decode("latin-1")
    encoding = choose.choice(["utf-16", "utf-16-be", "utf-32", "utf-7", "cp037", "utf-8"])
    return text.encode(encoding, "replace")[choose.randrange(2) :]


def _poison(data: bytes, choose: random.Random, _other: bytes) -> bytes:
    for _number in range(choose.randrange(1, 6)):
        place = choose.randrange(len(data) + 1)
        data = data[:place] + choose.choice(HOSTILE) + data[place:]
    return data


def _flip(data: bytes, choose: random.Random, _other: bytes) -> bytes:
    changed = bytearray(data)
    for _number in range(choose.randrange(1, 20)):
        changed[choose.randrange(len(changed))] = choose.randrange(256)
    return bytes(changed)


def _cut_out(data: bytes, choose: random.Random, _other: bytes) -> bytes:
    start = choose.randrange(len(data))
    return data[:start] + data[start + choose.randrange(1, 200) :]


MUTATIONS: dict[str, Callable[[bytes, random.Random, bytes], bytes]] = {
    "truncated": _truncate,
    "interleaved": _interleave,
    "wrong encoding": _encode,
    "hostile strings": _poison,
    "bytes changed": _flip,
    "piece missing": _cut_out,
}


def run(runs: int, seed: int) -> Result:
    """Load ``runs`` mutated samples, each source in turn, in batches that share one set of tables."""
    samples, result = seeds(), Result()
    for start in range(0, runs, _PER_BATCH):
        with tempfile.TemporaryDirectory(prefix="mailwitness-fuzz-") as folder:
            _batch(Path(folder), range(start, min(start + _PER_BATCH, runs)), seed, samples, result)
    return result


def _batch(folder: Path, numbers: Sequence[int], seed: int, samples: list[Seed], result: Result) -> None:
    connection = tables.connect(memory="1GB", threads=1, temporary=folder)
    for name in ("tables", "index", "work", "given"):
        (folder / name).mkdir()
    intake = Intake(
        connection,
        tables.TableStore(folder / "tables"),
        wanted=None,
        work=folder / "work",
        index_folder=folder / "index",
    )
    try:
        for number in numbers:
            exhibit = _exhibit(folder / "given", number, seed, samples, result)
            try:
                intake.add(exhibit)
            except Exception as error:  # noqa: BLE001 - an input that raises is what is looked for
                result.wrong.append(f"input {number} ({exhibit.path}): {type(error).__name__}: {error}")
        intake.finish()
    except Exception as error:  # noqa: BLE001 - as above
        result.wrong.append(f"inputs {numbers[0]} to {numbers[-1]}: {type(error).__name__}: {error}")
    finally:
        connection.close()
    for tally in intake.tallies.values():
        counts = {
            n: getattr(tally, n) for n in ("records", "loaded", "duplicates", "quarantined", "salvaged")
        }
        result.counts.update(counts)
        result.counts["not recognised"] += not tally.sources and not tally.quarantined
        if tally.records != tally.loaded + tally.duplicates + tally.quarantined:
            result.wrong.append(f"{tally.exhibit.path}: {counts} do not add up")


def _exhibit(folder: Path, number: int, seed: int, samples: list[Seed], result: Result) -> Exhibit:
    """Write one mutated sample; its number and the seed decide everything about it."""
    choose = random.Random(f"{seed}/{number}")
    sample = samples[number % len(samples)]
    kind = choose.choice(sorted(MUTATIONS))
    data = MUTATIONS[kind](sample.data, choose, choose.choice(samples).data)
    result.inputs[sample.source] += 1
    result.mutations[kind] += 1
    path = folder / str(number)
    path.write_bytes(data)
    return Exhibit(
        id=f"E{number + 1}",
        path=f"{number}/{sample.name}",
        location=path,
        size_bytes=len(data),
        blake3=hashlib.sha256(data + str(number).encode()).hexdigest(),
    )


def main() -> int:
    """Run, print the counts, and say which inputs went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    result = run(given.runs, given.seed)
    print(
        f"{sum(result.inputs.values())} inputs from samples of {len(result.inputs)} sources and sets, seed {given.seed}"
    )
    for counts in (result.mutations, result.counts):
        print(", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())))
    print(f"{len(result.wrong)} errors", *result.wrong[:50], sep="\n")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
