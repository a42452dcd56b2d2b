"""Measure investigations of one event log at two sizes, and with a tenth of its records broken.

    python -m bench.evtx_sizes [--log FILE] [--megabytes 60] [--memory 512MB] [--rounds 2]

The log repeats the chunks of a sound one. Processor seconds and the highest memory of the best round are printed; it ends with 1 when a
record was lost.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from bench import measure
from mailwitness.readers import evtx

DEFAULT_LOG = (
    Path(__file__).resolve().parents[2] / "shared/data/public/evtx-parser-samples/Security_with_size_t.evtx"
)
_HEADER_BYTES, _CHUNK_BYTES = 4096, 65536
_LARGER = 4
_BROKEN = bytes(range(160, 192))


def write(path: Path, log: Path, size: int, damage: float) -> int:
    """Write a log of about ``size`` bytes and return how many records it has; a share of them is overwritten in the middle."""
    content = log.read_bytes()
    chunks = [content[at : at + _CHUNK_BYTES] for at in range(_HEADER_BYTES, len(content), _CHUNK_BYTES)]
    used = [chunk for chunk in chunks if chunk.startswith(b"ElfChnk")]
    count = max(1, size // _CHUNK_BYTES)
    with path.open("wb") as handle:
        handle.write(content[:_HEADER_BYTES])
        for number in range(count):
            handle.write(used[number % len(used)])
    places = evtx.walk(path)
    choice = random.Random(7)
    with path.open("r+b") as handle:
        # Readers believe the header's number of chunks.
        handle.seek(42)
        handle.write(struct.pack("<H", min(count, 65535)))
        for at in choice.sample(range(len(places.offsets)), int(damage * len(places.offsets))):
            handle.seek(places.offsets[at] + places.lengths[at] // 2)
            handle.write(_BROKEN[: places.lengths[at] // 4])
    return len(places.offsets)


def main() -> int:
    """Measure, and say whether every record is accounted for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--log", type=Path, default=DEFAULT_LOG)
    parser.add_argument("--megabytes", type=int, default=60)
    parser.add_argument("--memory", default="512MB")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    is_complete = True
    for factor, damage in ((1, 0.0), (_LARGER, 0.0), (1, 0.1)):
        with tempfile.TemporaryDirectory(prefix="mailwitness-bench-") as folder:
            path, case = Path(folder) / "log.evtx", Path(folder) / "case"
            records = write(path, arguments.log, factor * arguments.megabytes << 20, damage)
            command = [sys.executable, "-m", "mailwitness", "investigate", "--proof", "never"]
            command += [str(path), "--case", str(case), "--memory", arguments.memory]
            runs = []
            for _round in range(arguments.rounds):
                shutil.rmtree(case, ignore_errors=True)
                runs.append(measure.run(command))
            [exhibit] = json.loads((case / "report.json").read_text("utf-8"))["intake"]
        counted = {
            name: exhibit[name] for name in ("records", "loaded", "duplicates", "quarantined", "salvaged")
        }
        is_complete &= records == counted["records"]
        is_complete &= (
            counted["records"] == counted["loaded"] + counted["duplicates"] + counted["quarantined"]
        )
        print(
            f"{factor * arguments.megabytes:5} MB damage {damage:<4} cpu {min(run.cpu for run in runs):6.2f} s "
            f"highest memory {max(run.rss for run in runs) >> 20:5} MB {counted}{'' if is_complete else ' RECORDS ARE LOST'}",
            flush=True,
        )
    return 0 if is_complete else 1


if __name__ == "__main__":
    sys.exit(main())
