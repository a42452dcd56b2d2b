"""Titles of programs in the audit log as texts, many at once: ``proctitle=726D002D66`` is ``rm -f``.

Source: kernel ``audit_log_proctitle``: in quotes, or in hex when arguments are separated by NUL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mailwitness.readers.byte_words import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mailwitness.readers.audit_lines import Mask
    from mailwitness.readers.index import Positions

    Bytes = NDArray[np.uint8]

_QUOTE = ord('"')
# What a digit counts; above 15 for what is none. The kernel writes capital letters.
_DIGITS = np.full(256, 0xFF, dtype=np.uint8)
_DIGITS[np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)] = np.arange(16)
_HIGHEST_DIGIT, _HIGHEST_ASCII = 15, 127
_NOTHING = np.zeros(0, dtype=np.uint8)


class Titles(NamedTuple):
    """Titles of some events.

    Attributes:
        found: their texts, one behind the other.
        starts: where each starts.
        stops: where each stops; nothing for an empty one.
        is_text: whether it could be read.
    """

    found: Text
    starts: Positions
    stops: Positions
    is_text: Mask


def decode(found: Text, starts: Positions, stops: Positions) -> Titles:
    """Read the titles between some places; all of them have to be ASCII."""
    lengths = stops - starts
    is_quoted = (lengths > 0) & (found.data[starts] == _QUOTE)
    is_closed = is_quoted & (lengths > 1) & (found.data[np.maximum(stops - 1, 0)] == _QUOTE)
    is_hex = (lengths > 0) & ~is_quoted & (lengths % 2 == 0)
    quoted = _copied(found, np.where(is_quoted, starts + 1, 0), np.where(is_quoted, stops - is_closed, 0))
    coded = _copied(found, np.where(is_hex, starts, 0), np.where(is_hex, stops, 0))
    # All of these have an even number of digits: pairs never reach over the end of a text.
    high, low = _DIGITS[coded[0][0::2]], _DIGITS[coded[0][1::2]]
    content = (high << np.uint8(4)) | (low & np.uint8(_HIGHEST_DIGIT))
    begins, ends = coded[1] // 2, coded[2] // 2
    is_text = is_quoted | is_hex | (lengths == 0)
    wrong = (high > _HIGHEST_DIGIT) | (low > _HIGHEST_DIGIT)
    is_text[_rows(begins, ends, wrong)] = False
    _check(content, begins, ends, is_text)
    closing = content[np.maximum(ends - 1, 0)] if len(content) else np.ones(len(ends), dtype=np.uint8)
    for row in np.flatnonzero((ends > begins) & (closing == 0)).tolist():
        ends[row] = begins[row] + len(content[begins[row] : ends[row]].tobytes().rstrip(b"\0"))
    content[content == 0] = ord(" ")
    shift = len(content)
    texts = Text(content.tobytes() + quoted[0].tobytes())
    return Titles(
        texts,
        np.where(is_quoted, quoted[1] + shift, begins),
        np.where(is_quoted, quoted[2] + shift, ends),
        is_text,
    )


def _copied(found: Text, starts: Positions, stops: Positions) -> tuple[Bytes, Positions, Positions]:
    """Return texts one behind the other, and where each starts and stops there."""
    strings = found.strings(starts, stops).cast(pa.large_string())
    ends = np.cumsum(stops - starts)
    content = strings.buffers()[2]
    data = np.frombuffer(content, dtype=np.uint8)[: int(ends[-1])] if len(ends) and content else _NOTHING
    return data, ends - (stops - starts), ends


def _rows(begins: Positions, ends: Positions, marks: Mask) -> Positions:
    """Return the texts in which something is marked."""
    places = np.flatnonzero(marks)
    # Empty texts start where the next one does.
    filled = np.flatnonzero(ends > begins)
    return filled[np.searchsorted(begins[filled], places, side="right") - 1]


def _check(content: Bytes, begins: Positions, ends: Positions, is_text: Mask) -> None:
    """Leave out texts that are no UTF-8."""
    for row in np.unique(_rows(begins, ends, content > _HIGHEST_ASCII)).tolist():
        try:
            content[begins[row] : ends[row]].tobytes().decode()
        except UnicodeDecodeError:
            is_text[row] = False
