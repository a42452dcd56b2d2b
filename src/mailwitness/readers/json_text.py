"""Judging one JSON value and writing it on one line."""

from __future__ import annotations

import json
import re
from enum import StrEnum

import msgspec

_CHECKER = msgspec.json.Decoder(msgspec.Raw)
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_CONTROL = re.compile(rb"[\x00-\x1f]")
_LINE_ENDS_TO_SPACES = bytes.maketrans(b"\r\n", b"  ")


class Verdict(StrEnum):
    """Say how well a JSON text can be read."""

    GOOD = "good"
    MENDED = "mended"  # Python's reader takes it: lone surrogates, raw control characters, NaN
    DAMAGED = "damaged"
    CUT_OFF = "cut off"  # as far as it goes there is no fault


def judge(raw: bytes) -> Verdict:
    """Judge the text of one value.

    A value nested too deeply to be checked counts as good: its brackets match, and the database judges the
    rest.
    """
    try:
        _CHECKER.decode(raw)
    except RecursionError:
        return Verdict.GOOD
    except msgspec.DecodeError as error:
        try:
            json.loads(raw.decode("utf-8", "replace"), strict=False)
        except RecursionError:
            return Verdict.GOOD
        except ValueError:
            return Verdict.CUT_OFF if "truncated" in str(error) else Verdict.DAMAGED
        return Verdict.MENDED
    return Verdict.GOOD


def valid_end(text: bytes, start: int, end: int) -> int:
    """Return the place after the valid JSON value at `start`, or -1 when none ends before `end`.

    The decoder stops at the first fault; if that is what follows the value, the value is good and its end
    known. Twenty times as fast as following brackets, but for valid JSON only.
    """
    chunk = text[start:end]
    try:
        _CHECKER.decode(chunk)
    except RecursionError:
        return -1
    except msgspec.DecodeError as error:
        trailing = _TRAILING.search(str(error))
        if trailing is None:
            return -1
        chunk = chunk[: int(trailing[1]) - 1]  # it counts from one
    return start + len(chunk.rstrip(b" \t\r\n"))


def is_faulty(beginning: bytes) -> bool:
    """Say whether the beginning of a value holds a fault already, whatever may follow."""
    try:
        _CHECKER.decode(beginning)
    except RecursionError:
        return False
    except msgspec.DecodeError as error:
        return "truncated" not in str(error)
    return False


def one_line(raw: bytes, verdict: Verdict) -> bytes:
    """Return the value without line ends: outside strings as spaces, inside strings as escapes.

    Only a mended value can have control characters inside its strings; there all of them are escaped, because
    the database refuses them.
    """
    if verdict is Verdict.MENDED:
        raw = _with_escapes(raw)
    if b"\n" in raw or b"\r" in raw:
        return raw.translate(_LINE_ENDS_TO_SPACES)
    return raw


def _with_escapes(raw: bytes) -> bytes:
    """Return a value with the control characters inside its strings escaped."""
    masked = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    found, place = [], 0
    # Without escaped quotes every second piece between quotes is a string.
    for i, piece in enumerate(masked.split(b'"')):
        text = raw[place : place + len(piece)]
        found.append(_escaped(text) if i % 2 and _CONTROL.search(text) else text)
        place += len(piece) + 1
    return b'"'.join(found)


def _escaped(text: bytes) -> bytes:
    return _CONTROL.sub(lambda found: b"\\u%04x" % found[0][0], text)
