"""Measure the readers on generated text: MB/s of wall time and of processor time, and peak memory.

Run from the repository: `PYTHONPATH=src python bench/readers.py [megabytes]`. Each figure is the best of
three; other work on the machine shows as a gap between the two rates.
"""

from __future__ import annotations

import csv
import io
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness.readers.csv_records import CsvRecords, index_csv, sniff_csv
from mailwitness.readers.index import index_lines
from mailwitness.readers.json_records import split_json
from mailwitness.readers.text import to_utf8

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 3
DISTINCT_EVENTS = 2000


def events(count: int, seed: int = 1) -> list[dict[str, object]]:
    """Return synthetic audit events of about 1.5 KB, some with nested items and escapes."""
    choose = random.Random(seed)
    made: list[dict[str, object]] = []
    for number in range(count):
        event: dict[str, object] = {
            "CreationTime": f"2026-05-18T21:13:{number % 60:02d}",
            "Id": f"{choose.getrandbits(128):032x}",
            "Operation": choose.choice(["HardDelete", "MailItemsAccessed", "New-InboxRule", "UserLoggedIn"]),
            "OrganizationId": f"{choose.getrandbits(128):032x}",
            "RecordType": choose.choice([1, 2, 3, 50]),
            "ClientIP": f"203.0.113.{choose.randrange(255)}",
            "UserId": f"user{choose.randrange(100)}@contoso.example",
        }
        event["AffectedItems"] = [
            {
                "Id": f"{choose.getrandbits(500):x}",
                "Subject": 'Quarterly "figures" é {x}',
                "ParentFolder": {
                    "Id": f"{choose.getrandbits(400):x}",
                    "Path": "\\Recoverable Items\\Deletions",
                },
            }
            for _ in range(choose.randrange(8))
        ]
        event["ClientInfoString"] = "Client=OWA;Action=ViaProxy\r\n"
        made.append(event)
    return made


def write(path: Path, head: bytes, part: bytes, separator: bytes, tail: bytes, size_bytes: int) -> None:
    """Write a file of about `size_bytes` that repeats one part."""
    with path.open("wb") as stream:
        stream.write(head + part)
        for _ in range(size_bytes // len(part)):
            stream.write(separator + part)
        stream.write(tail)


def make(folder: Path, size_bytes: int) -> None:
    """Write the same events in every shape that is measured."""
    made = events(DISTINCT_EVENTS)
    compact = [json.dumps(event, separators=(",", ":")).encode() for event in made]
    pretty = [json.dumps(event, indent=2).replace("\n", "\r\n").encode() for event in made]
    lines = b"\n".join(compact)
    write(folder / "lines.json", b"", lines, b"\n", b"\n", size_bytes)
    write(folder / "array.json", b"[", b",".join(compact), b",", b"]", size_bytes)
    write(folder / "pretty.json", b"[", b",\r\n".join(pretty), b",\r\n", b"]", size_bytes)
    write(folder / "concatenated.json", b"", b"\r\n".join(pretty), b"\r\n", b"", size_bytes)
    damaged = [
        text.replace(b'"OrganizationId"', b"OrganizationId", not place % 10)
        for place, text in enumerate(compact)
    ]
    write(folder / "damaged.json", b"[", b",".join(damaged), b",", b"]", size_bytes // 8)
    write(
        folder / "utf16.json",
        b"\xff\xfe",
        (lines.decode() + "\n").encode("utf-16-le"),
        b"",
        b"",
        size_bytes // 4,
    )
    table = io.StringIO()
    writer = csv.writer(table)
    for event, text in zip(made, compact, strict=True):
        writer.writerow(
            [event["Id"], event["CreationTime"], event["Operation"], event["UserId"], text.decode(), ""]
        )
    header = b"RecordId,CreationDate,Operation,UserId,AuditData,AssociatedAdminUnits\r\n"
    write(folder / "portal.csv", header, table.getvalue().encode(), b"", b"", size_bytes)


def measure(name: str, path: Path, work: Callable[[], int]) -> None:
    """Print the best rates of a few runs."""
    wall = cpu = float("inf")
    records = 0
    for _ in range(RUNS):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        records = work()
        wall = min(wall, time.perf_counter() - wall_start)
        cpu = min(cpu, time.process_time() - cpu_start)
    megabytes = path.stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:30} {megabytes:7.0f} MB {records:9,d} records {megabytes / wall:6.0f} MB/s wall "
        f"{megabytes / cpu:6.0f} MB/s cpu, peak so far {peak:4.0f} MB"
    )


def main() -> None:
    """Generate, measure, print."""
    size_bytes = int(sys.argv[1] if len(sys.argv) > 1 else 400) * 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, size_bytes)
        path = folder / "lines.json"
        measure("index lines", path, lambda: len(index_lines(path).records))
        for shape in ("array", "pretty", "concatenated", "damaged"):
            source = folder / f"{shape}.json"
            measure(
                f"split JSON, {shape}",
                source,
                lambda source=source: len(split_json(source, folder / "out").index),  # type: ignore[misc]
            )
        table = folder / "portal.csv"
        with table.open("rb") as stream:
            found = sniff_csv(stream.read(1 << 16))
        if found is None:
            message = "the generated CSV is not recognised"
            raise SystemExit(message)
        measure("index CSV", table, lambda: len(index_csv(table, found)))
        measure(
            "read and index CSV",
            table,
            lambda: sum(b.rows.num_rows for b in CsvRecords(table, found)),
        )
        wide = folder / "utf16.json"
        measure("rewrite UTF-16", wide, lambda: len(to_utf8(wide, folder / "out", "utf-16-le").utf8))


if __name__ == "__main__":
    main()
