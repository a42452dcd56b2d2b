"""Judging one JSON value and writing it on one line."""

from __future__ import annotations

import json
import re
from enum import StrEnum

import msgspec

from mailwitness.readers.json_tokens import STRING

_CHECKER = msgspec.json.Decoder(msgspec.Raw)
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
        raw = STRING.sub(_escape_controls, raw)
    if b"\n" in raw or b"\r" in raw:
        return raw.translate(_LINE_ENDS_TO_SPACES)
    return raw


def _escape_controls(string: re.Match[bytes]) -> bytes:
    return _CONTROL.sub(lambda found: b"\\u%04x" % found[0][0], string[0])
