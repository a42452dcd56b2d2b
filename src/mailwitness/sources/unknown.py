"""Describe an input that no source recognises: what it looks like, how it begins, and which source comes nearest."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from mailwitness.recognise import base_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.content.schemas import Source
    from mailwitness.recognise import Recogniser

# What other binary files begin with: the first bytes, and words for people.
_MAGICS = {
    b"ElfFile\x00": "a Windows event log (EVTX)",
    b"\xd0\xcf\x11\xe0": "an OLE compound file (such as Outlook .msg)",
    b"!BDN": "an Outlook data file (PST or OST)",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x37\x7f\x06": "an SQLite write-ahead log, which is read together with its database",
    b"bplist": "a binary property list",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a Linux program",
    b"MZ": "a Windows program",
    b"ASL DB\x00": "a database of the Apple System Log; print it with syslog -f",
    # Token of a BSM file header, and a length below 16 MiB (audit.log(5) of macOS).
    b"\x14\x00\x00": "a BSM audit trail; print it with praudit",
    # Major version 7 and a base header of 120 bytes (mail-index.h of Dovecot).
    b"\x07\x03\x78\x00": "a Dovecot index, which tells what is there now; what was removed stands in dovecot.index.log",
}
_SHOWN_BYTES = 48
_SHOWN_BINARY_BYTES = 16
_COMPARED_BYTES = 64 * 1024
_COMPARED_LINES = 20
# Below this share of common letter groups two lines have nothing to do with each other (tried on all examples against all others).
_LEAST_LIKENESS = 0.2
# Above this share of control characters a file is no text.
_MOST_CONTROLS = 0.02
_CONTROLS = bytes(set(range(32)) - {9, 10, 12, 13, 27})


def binary_kind(head: bytes) -> str:
    """Return what a file that begins with known bytes is; empty for any other."""
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), "")


def is_binary(head: bytes) -> bool:
    """Tell whether the start of a file holds more control characters than any text does."""
    sample = head[:4096]
    return len(sample) - len(sample.translate(None, _CONTROLS)) > _MOST_CONTROLS * len(sample)


def first_bytes(head: bytes) -> str:
    """Describe how a file begins in characters that are harmless everywhere."""
    if is_binary(head):
        return f"it begins with the bytes {head[:_SHOWN_BINARY_BYTES].hex(' ')}"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:_SHOWN_BYTES].decode("ascii", "backslashreplace")
    shown = "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" for character in text
    )
    return f"it begins with {shown}"


def nearest(recogniser: Recogniser, head: bytes, keys: Iterable[str] = ()) -> str:
    """Name the source that comes nearest to an input; empty when none has anything in common with it.

    Args:
        recogniser: all sources and tables.
        head: start of the input as UTF-8.
        keys: keys of its first records or columns of its header; empty for other text.
    """
    folded = {base_name(key) for key in keys}
    return _nearest_keys(recogniser, folded) if folded else _nearest_text(recogniser, head)


def _nearest_keys(recogniser: Recogniser, folded: set[str]) -> str:
    known = [(f"the source {source.name}", _keys_of(source)) for source in recogniser.sources]
    known += [(f"the table {name}", columns) for name, columns in sorted(recogniser.tables.items())]
    # Many keys in common count first, then how much of the source they are.
    name, keys = max(
        known, key=lambda item: (len(folded & item[1]), len(folded & item[1]) / (len(item[1]) or 1))
    )
    return name if folded & keys else ""


def _keys_of(source: Source) -> set[str]:
    signs = [key for rule in source.recognise for key in [*rule.keys, *rule.any_keys]]
    try:
        example = json.loads(source.example or "null")
    except ValueError:
        example = None
    record = example.get(source.record, example) if isinstance(example, dict) else {}
    return {base_name(key) for key in [*signs, *(record if isinstance(record, dict) else {})]}


def _nearest_text(recogniser: Recogniser, head: bytes) -> str:
    """Compare groups of three characters, all digits alike, with the example of each source that is text."""
    lines = head[:_COMPARED_BYTES].decode("utf-8", "replace").splitlines()[:_COMPARED_LINES]
    given = [group for group in map(_groups, lines) if group]
    best, name = _LEAST_LIKENESS, ""
    for source in sorted(recogniser.sources, key=lambda item: item.id):
        if source.reader and (example := _groups(source.example)):
            likeness = max((_likeness(group, example) for group in given), default=0.0)
            if likeness > best:
                best, name = likeness, f"the source {source.name}"
    return name


def _groups(line: str) -> set[str]:
    plain = re.sub(r"\d+", "0", line[:400].lower())
    return {plain[i : i + 3] for i in range(len(plain) - 2)}


def _likeness(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)
