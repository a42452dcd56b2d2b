"""Replay scenarios through the whole flow: several in one case, weeks apart and with other people, each judged by itself."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mailwitness import pipeline
from mailwitness.scenarios import judging, telling
from mailwitness.scenarios.judging import Judgement
from mailwitness.scenarios.telling import Instance, Told

# Three weeks: the same weekday, and further apart than the seven days that join findings into one case.
SLOT = dt.timedelta(days=21)
# One batch spans less than four years, so that years without a digit in old formats stay unambiguous.
BATCH = 68
_FIRST = dt.datetime(2023, 1, 2, 9)  # noqa: DTZ001 - times of scenarios are naive UTC


def batches(names: Iterable[str]) -> list[list[Instance]]:
    """Put instances into batches of one platform; each gets its own people and its own weeks.

    An attack and its twin never share people: the twin must be judged without the attack beside it.
    """
    known = telling.instances()
    by_platform: dict[str, list[Instance]] = {}
    for name in names:
        by_platform.setdefault(known[name].scenario.platform, []).append(known[name])
    found: list[list[Instance]] = []
    for members in by_platform.values():
        found += [
            [_placed(item, slot) for slot, item in enumerate(members[start : start + BATCH])]
            for start in range(0, len(members), BATCH)
        ]
    return found


def _placed(instance: Instance, slot: int) -> Instance:
    return msgspec.structs.replace(instance, tag=f"{slot + 10}", start=_FIRST + SLOT * slot)


def write(told: list[Told], folder: Path) -> list[Path]:
    """Write evidence files below a folder and return them.

    Raises:
        OSError: a file cannot be written.
    """
    written = []
    for name, content in telling.files(told).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(path)
    return written


def replay(batch: list[Instance], *, threads: int = 0) -> Iterator[Judgement]:
    """Investigate a batch as one case and yield the judgement of each instance in turn."""
    told = [telling.tell(instance) for instance in batch]
    now = (max(item.last for item in told) + dt.timedelta(days=1)).replace(tzinfo=dt.UTC)
    with tempfile.TemporaryDirectory(prefix="mailwitness-") as temporary:
        folder = Path(temporary) / "evidence"
        write(told, folder)
        settings = pipeline.Settings(now=now, memory="1GB", threads=threads)
        report = pipeline.investigate(
            [folder], Path(temporary) / "case", settings, pipeline.Progress()
        ).report
    sources = tuple(sorted({row["source"] for row in report["intake"]}))
    for instance, item in zip(batch, told, strict=True):
        yield msgspec.structs.replace(judging.judge(instance, item, report), sources=sources)
