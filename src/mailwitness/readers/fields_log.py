r"""Text logs whose columns stand in a ``#Fields:`` line: W3C extended logs of IIS and the comma separated logs of Exchange.

::

    #Software: Microsoft Exchange Server
    #Fields: date-time,client-ip,event-id,message-subject
    2026-03-02T08:00:00.123Z,192.0.2.1,RECEIVE,"Payment, urgent"

    #Fields: date time cs-method cs-uri-stem sc-status
    2026-03-02 08:00:00 GET /owa/ 200

The line may come again with other columns. A W3C value has no blanks (they are written ``+``), a missing one is ``-``. In the comma
separated form a value in quotes may hold commas, doubled quotes and line ends (Extended Log File Format, W3C draft WD-logfile).
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from mailwitness.readers.blocks import MAX_RECORD_BYTES, UTF8_BOM, Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A quoted value that runs on over more lines than any real one has lost its closing quote.
_MOST_LINES_OF_A_RECORD = 200


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield each line after the header as an object of its columns; ``#`` lines are no records."""
    fields: list[str] = []
    for offset, line_number, line in _records(path):
        text = line.decode("utf-8", "replace")
        if text.startswith("#"):
            name, _, value = text[1:].partition(":")
            if name.strip().lower() == "fields":
                fields = [part.strip() for part in (value.split(",") if "," in value else value.split())]
            continue
        values = _values(text, is_csv=len(fields) > 1 and not _is_w3c(fields))
        if values is None or not fields:
            reason = "the line stands before any #Fields line" if not fields else "a quote is not closed"
            yield Damage(offset, len(line), line_number, reason)
        elif len(values) == len(fields):
            yield RawRecord(dict(zip(fields, values, strict=True)), offset, len(line), line_number)
        elif 1 < len(values) < len(fields) and _is_dated(values[0]):
            # A line cut off keeps its first columns; the last one may be cut itself.
            yield RawRecord(
                dict(zip(fields, values[:-1], strict=False)), offset, len(line), line_number, salvaged=True
            )
        else:
            yield Damage(
                offset, len(line), line_number, f"it has {len(values)} columns and not {len(fields)}"
            )


def _is_w3c(fields: list[str]) -> bool:
    return "date" in fields and "time" in fields


def _is_dated(value: str) -> bool:
    return len(value) > 9 and value[:4].isdecimal() and value[4] == "-"  # noqa: PLR2004 - yyyy-mm-dd


def _values(text: str, *, is_csv: bool) -> list[str] | None:
    if not is_csv:
        return ["" if value == "-" else value for value in text.split()]
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        return None


def _records(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, line and bytes of each logical line; a quoted value may go on over the end of a line."""
    offset, number = 0, 0
    held: list[bytes] = []
    held_at = (0, 0)
    with path.open("rb") as stream:
        while line := stream.readline(MAX_RECORD_BYTES):
            number += 1
            start, offset = offset, offset + len(line)
            if number == 1 and line.startswith(UTF8_BOM):
                line, start = line[3:], 3
            if held:
                held.append(line)
                if sum(part.count(b'"') for part in held) % 2 == 0:
                    yield *held_at, b"".join(held).rstrip(b"\r\n")
                    held = []
                elif len(held) > _MOST_LINES_OF_A_RECORD:
                    # The quote was never meant to run on: give the lines one by one.
                    yield from _apart(held, held_at)
                    held = []
            elif line.count(b'"') % 2 and not line.startswith(b"#"):
                held, held_at = [line], (start, number)
            elif line.strip():
                yield start, number, line.rstrip(b"\r\n")
    yield from _apart(held, held_at)


def _apart(held: list[bytes], place: tuple[int, int]) -> Iterator[tuple[int, int, bytes]]:
    offset, number = place
    for line in held:
        if line.strip():
            yield offset, number, line.rstrip(b"\r\n")
        offset += len(line)
        number += 1
