"""The JSON splitter: any container of objects becomes one object a line, traced to its original bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailwitness.readers.blocks import MAX_RECORD_BYTES, UTF8_BOM, Damage
from mailwitness.readers.json_batch import Batch, take_batch, take_lines
from mailwitness.readers.json_layout import Layout, open_depth
from mailwitness.readers.json_output import Output, SplitResult
from mailwitness.readers.json_shape import (
    find_wrapper,
    is_table,
    scalars_of,
    sniff_json,
    unread_parts,
)
from mailwitness.readers.json_text import Verdict, is_faulty, judge, one_line, valid_end
from mailwitness.readers.json_tokens import STRING_REST, end_within, read_members, value_end
from mailwitness.readers.window import Window

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SplitResult", "sniff_json", "split_json"]

_LARGEST_BATCH = 1 << 20
_SMALLEST_BATCH = 64 << 10
_LINES_BYTES = 16 << 10
# How much of a wrapper is looked at before and after the array, and of the text in which the next record
# after damage is searched at once.
_WRAPPER_BYTES = 1 << 20
_SEARCH_BYTES = 1 << 20
_MOST_STEPS = 64
_SEPARATORS = re.compile(rb"[ \t\r\n,]*+")
_SCALAR = re.compile(rb'(?:"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|[^\s,\[\]{}":]++)(?=[ \t\r\n]*+[,\]])')
_ROWS = frozenset({"rows"})
# A member after the end of a value: a brace too many stands before it, the value is the beginning of one.
_MEMBER = re.compile(rb'[ \t\r\n]*+,[ \t\r\n]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\r\n]*+:', re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*+,?+[ \t\r\n]*+")


def split_json(
    path: Path, lines_path: Path, *, depth: int | None = None, max_record: int = MAX_RECORD_BYTES
) -> SplitResult:
    """Write every object of a JSON file to `lines_path`, one a line, and tell where each stood.

    Reads arrays, arrays inside wrapper objects, Log Analytics tables (rows become objects), objects one
    after another, arrays one after another, and damaged forms of all of these. Damage costs the damaged
    element only: the next record is recognised by its place on the line or by its keys. Values are not
    changed; line ends between tokens become spaces.

    Args:
        path: UTF-8 text, with or without byte order mark.
        lines_path: file to write, replaced if it exists.
        depth: 0 takes every top-level object as a record, whatever it wraps; None recognises wrappers.
        max_record: a longer record becomes damage; in bytes.

    Returns:
        The index and the damage. Memory: a few times `max_record` at worst, about 20 MB for ordinary records,
        plus 24 bytes a record.

    Raises:
        OSError: A file cannot be read or written.
    """
    with path.open("rb", buffering=0) as source, lines_path.open("wb") as target:
        splitter = _Splitter(Window(source), Output(target), max_record)
        splitter.unwraps = depth is None
        return splitter.run()


class _Splitter:
    """Walk through the file from value to value.

    Always between two values; whatever is read next is either taken as a record, entered as a container,
    left, or lost as damage.
    """

    def __init__(self, window: Window, output: Output, max_record: int) -> None:
        self._window = window
        self._output = output
        self._max_record = max_record
        self._layout = Layout()
        self._in_array = False
        self._batch_bytes = _SMALLEST_BATCH
        self._steps = 0  # records still to be taken one by one because batches failed
        self._failures = 0
        self._is_beside_damage = False  # what is taken at once ends at the next damage
        self._is_doubtful = False  # the last value was damage: brackets after it may belong to it
        self._levels = 0  # wrapper objects around the array at hand
        self._entered: list[str] = []  # kinds of the top-level values met
        self._wrapper: dict[str, object] = {}
        self.unwraps = True

    def run(self) -> SplitResult:
        if self._window.ensure(len(UTF8_BOM)) and self._window.text.startswith(UTF8_BOM):
            self._window.place = len(UTF8_BOM)
        while (byte := self._next_byte()) is not None:
            if byte == b"{":
                if self._in_array or not self._enter_wrapper():
                    self._note_kind("object")
                    self._take_records()
            elif byte == b"[":
                # Also inside an array: a list of pages is read as if the pages followed one another.
                self._note_kind("array")
                self._enter_array()
            elif byte == b"]" and self._closes_array(self._window.place):
                self._in_array = False
                self._window.place += 1
            else:
                self._lose_noise()
        return SplitResult(
            self._output.index(), self._output.damaged, self._kind(), self._wrapper, self._output.mended
        )

    def _note_kind(self, kind: str) -> None:
        """Remember the first two top-level values: they decide what the file is called."""
        if not self._in_array and len(self._entered) <= 1:
            self._entered.append(kind)

    def _kind(self) -> str:
        if len(set(self._entered)) == 1 and (
            len(self._entered) == 1 or self._entered[0] in {"wrapped", "tables"}
        ):
            return self._entered[0]
        return "concatenated"

    def _next_byte(self) -> bytes | None:
        """Skip separators and return the byte after them, None at the end of the file."""
        window = self._window
        while True:
            have = window.ensure(_SMALLEST_BATCH)
            separators = _SEPARATORS.match(window.text, window.place)
            window.place = separators.end() if separators else window.place
            if window.place < len(window.text):
                return window.text[window.place : window.place + 1]
            if not have:
                return None

    def _enter_array(self) -> None:
        self._window.place += 1
        self._in_array = True

    # ------------------------------------------------------------------ wrappers

    def _enter_wrapper(self) -> bool:
        """Step into the object at hand if it wraps records, and leave it again at its end."""
        if not self.unwraps:
            return False
        window = self._window
        have = window.ensure(_WRAPPER_BYTES)
        wrapper = find_wrapper(window.text[window.place : window.place + have], 0)
        if wrapper is None:
            # Files do not mix records and wrappers; deciding once keeps a million small objects quick.
            self.unwraps = False
            return False
        self._note_kind("tables" if wrapper.is_tables else "wrapped")
        self._wrapper.update(wrapper.scalars)
        window.place += wrapper.start
        self._levels = len(wrapper.path)
        if wrapper.is_tables:
            self._take_tables()
        else:
            self._take_array(Layout())
        for _ in wrapper.path:
            self._close_object()
        self._levels = 0
        return True

    def _take_array(self, layout: Layout) -> None:
        """Take the records of the array that opens at hand, until it closes or the file ends."""
        self._layout, before = layout, self._layout
        self._enter_array()
        while (byte := self._next_byte()) is not None:
            if byte == layout.brackets[:1]:
                self._take_records()
            elif byte == b"]" and self._closes_array(self._window.place):
                self._window.place += 1
                break
            else:
                self._lose_noise()
        self._in_array = False
        self._layout = before

    def _closes_array(self, place: int) -> bool:
        """Say whether the bracket at `place` ends the array, and is not a stray or a damaged value's one.

        What follows must end the wrapper; after damage, the file, the line or another array must follow then.
        """
        is_row = self._layout.columns is not None
        levels = 1 if is_row else self._levels
        if not self._in_array or not (levels or self._is_doubtful):
            return True
        window = self._window
        ahead = place - window.place
        have = window.ensure(ahead + _WRAPPER_BYTES)
        text = window.text[window.place + ahead + 1 : window.place + have]
        end = 0
        for _ in range(levels):
            end = read_members(text, end).end
            if end < 0:
                return not text.strip()
        rest = text[end:].lstrip(b" \t\r,")
        ends = {b"", b"\n", b"[", b"]", b"{" if is_row else b""}
        return not self._is_doubtful or rest[:1] in ends

    def _take_tables(self) -> None:
        """Take the rows of every table of a Log Analytics answer, whose list opens at hand."""
        self._enter_array()
        while (byte := self._next_byte()) is not None and byte != b"]":
            if byte != b"{" or not self._take_table():
                self._lose_noise()
        self._window.place += byte is not None
        self._in_array = False

    def _take_table(self) -> bool:
        window = self._window
        have = window.ensure(_WRAPPER_BYTES)
        text = window.text[window.place : window.place + have]
        columns = is_table(text, 0)
        if columns is None:
            return False
        rows = read_members(text, 1, _ROWS).members[-1]
        window.place += rows.start
        self._output.use_columns(columns)
        self._take_array(Layout(len(columns)))
        self._output.use_columns(None)
        self._in_array = True
        self._close_object()
        return True

    def _close_object(self) -> None:
        """Read what follows the array inside its wrapper, up to the closing brace."""
        window = self._window
        have = window.ensure(_WRAPPER_BYTES)
        text = window.text[window.place : window.place + have]
        found = read_members(text, 0)
        self._wrapper.update(scalars_of(text, found.members))
        if found.end < 0:
            if self._next_byte() is not None:
                self._lose("the end of the object around the records cannot be read")
            return
        for part in unread_parts(text, found.members):
            place = window.place + part.start
            self._add_damage(place, place + part.end - part.start, "objects beside the records are not read")
        window.place += found.end

    # ------------------------------------------------------------------ records

    def _take_records(self) -> None:
        """Take many records at once where that works, else exactly one value."""
        if self._steps:
            self._steps -= 1
            self._take_one()
        elif self._is_beside_damage and self._take_lines():
            self._failures = 0
        elif self._take_batch():
            self._failures = 0
            self._batch_bytes = min(_LARGEST_BATCH, 2 * self._batch_bytes)
        else:
            self._is_beside_damage = True
            self._batch_bytes = _SMALLEST_BATCH
            self._failures += 1
            self._steps = min(_MOST_STEPS, self._failures - 1)
            self._take_one()

    def _take_batch(self) -> bool:
        window = self._window
        if self._layout.gap is None:
            return False
        have = window.ensure(self._batch_bytes)
        start = window.place
        return self._take(take_batch(window.text, start, start + have, self._layout))

    def _take_lines(self) -> bool:
        """Take the good records up to the next damage; where there is none at hand, batches are tried again."""
        window = self._window
        have = window.ensure(_LINES_BYTES)
        start = window.place
        is_taken = self._take(take_lines(window.text, start, start + have, self._layout))
        if window.place - start > have // 2:
            self._is_beside_damage = False
        elif is_taken:
            self._steps = 1
        return is_taken

    def _take(self, batch: Batch | None) -> bool:
        """Write the records that follow, and learn from the last one."""
        window = self._window
        start = window.place
        if batch is None or int(batch.lengths.max()) > self._max_record:
            return False
        self._output.add_batch(batch, window.offset(start), window.line(start))
        self._layout.learn(window.text, start + int(batch.starts[-1]), batch.end)
        window.place = batch.end
        self._is_doubtful = False
        return True

    def _take_one(self) -> None:
        """Take or lose the value that opens at hand, looking no further ahead than needed."""
        window = self._window
        limit = min(_SMALLEST_BATCH, self._max_record)
        while True:
            have = window.ensure(limit)
            start, stop = window.place, window.place + have
            end = valid_end(window.text, start, stop)
            faulty = end < 0 and is_faulty(window.text[start:stop])
            if end < 0:
                end = self._damaged_end(start, stop) if faulty else value_end(window.text, start, stop)
            if end >= 0:
                self._take_whole(end)
                return
            is_all = window.at_end and window.place + have == len(window.text)
            if faulty:
                self._lose("not valid JSON")
                return
            if is_all:
                self._lose("the record is cut off")
                return
            if limit >= self._max_record:
                self._lose_oversized()
                return
            limit = min(4 * limit, self._max_record)

    def _damaged_end(self, start: int, stop: int) -> int:
        """Return where a value ends that is no sound JSON, -1 where that cannot be told.

        What is damaged ends before the next record; its brackets are not followed through those after it.
        """
        text = self._window.text
        seam = self._layout.next_line(text, start + 1, stop)
        end = end_within(text, start, seam)
        if end < 0 and text.find(b"\n", start, seam) >= 0:
            # Records of several lines without indentation: what begins on this line may be a part of the value, if it can be mended.
            whole = value_end(text, start, stop)
            if whole >= 0 and judge(text[start:whole]) in {Verdict.GOOD, Verdict.MENDED}:
                return whole
        return end

    def _take_whole(self, end: int) -> None:
        """Take the value from the current place to `end` if it is a record, else lose it."""
        window = self._window
        raw = window.text[window.place : end]
        verdict = judge(raw)
        is_row = self._layout.columns is not None
        if is_row and not self._layout.resembles(raw):
            self._lose("the row does not have one cell for each column", end)
        elif verdict in {Verdict.GOOD, Verdict.MENDED} and not _MEMBER.match(window.text, end):
            place = (window.offset(window.place), len(raw), window.line(window.place))
            self._output.add(one_line(raw, verdict), place, is_mended=verdict is Verdict.MENDED)
            self._layout.learn(window.text, window.place, end)
            window.place = end
            self._is_doubtful = False
        else:
            self._lose("not valid JSON", end if self._is_boundary(end) else None)

    def _is_boundary(self, end: int) -> bool:
        """Say whether the end of a damaged value can be believed.

        A quote too many turns text into brackets, and then a value seems to end somewhere inside.
        """
        self._is_doubtful = True
        text = self._window.text
        gap = _NEXT.match(text, end)
        following = gap.end() if gap else end
        if text[following : following + 1] == self._layout.brackets[:1]:
            return self._layout.starts_at(text, following)
        if text[following : following + 1] == b"]":
            return self._closes_array(following)
        return following == len(text)

    # ------------------------------------------------------------------ damage

    def _lose_noise(self) -> None:
        """Lose what stands between records and is none."""
        window = self._window
        have = window.ensure(_SMALLEST_BATCH)
        opening = window.text[window.place : window.place + 1]
        if self._in_array and opening in {b"{", b"["}:
            end = value_end(window.text, window.place, window.place + have)
            self._lose("not a record of this list", None if end < 0 else end)
            return
        if scalar := _SCALAR.match(window.text, window.place):
            self._lose("not an object", scalar.end())
            return
        self._lose("text that belongs to no record")

    def _lose(self, reason: str, end: int | None = None) -> None:
        """Lose the bytes from the current place to the next record, at most to `end` if that is known."""
        window = self._window
        self._is_doubtful = True
        if end is not None:
            found = self._find_next(window.place + 1, end, len(window.text))
            self._add_damage(window.place, end if found < 0 else found, reason)
            window.place = end if found < 0 else found
            return
        offset, line = window.offset(window.place), window.line(window.place)
        length = 0
        while True:
            have = window.ensure(_SEARCH_BYTES)
            text, start = window.text, window.place
            is_all = window.at_end and start + have == len(text)
            # A record that starts in the second half may not be complete here; it is looked at again.
            stop = len(text) if is_all else start + have // 2
            found = self._find_next(start + (length == 0), stop, len(text))
            window.place = stop if found < 0 else found
            length += len(text[start : window.place])
            if found >= 0 or is_all:
                kept = text[start : window.place].rstrip(b" \t\r\n,")
                length -= window.place - start - len(kept)
                break
        self._output.damaged.append(Damage(offset, length, line, reason))

    def _find_next(self, start: int, stop: int, end: int) -> int:
        return self._layout.find_next(self._window.text, start, stop, end, in_array=self._in_array)

    def _add_damage(self, start: int, end: int, reason: str) -> None:
        window = self._window
        length = len(window.text[start:end].rstrip(b" \t\r\n,"))
        self._output.damaged.append(Damage(window.offset(start), length, window.line(start), reason))

    def _lose_oversized(self) -> None:
        """Lose a value that is too long, following its brackets block by block without keeping it."""
        window = self._window
        offset, line = window.offset(window.place), window.line(window.place)
        depth, in_string, end = 0, False, -1
        while end < 0 and (have := window.ensure(_WRAPPER_BYTES)):
            stop = _before_escape(window.text, window.place, window.place + have)
            start = window.place
            if in_string and (rest := STRING_REST.match(window.text, start, stop)):
                start, in_string = rest.end(), not rest[1]
            if not in_string:
                end, depth, in_string = open_depth(window.text, start, stop, depth)
            window.place = stop if end < 0 else end
        length = window.offset(window.place) - offset
        reason = f"longer than {self._max_record} bytes" if end >= 0 else "the record is cut off"
        self._output.damaged.append(Damage(offset, length, line, reason))


def _before_escape(text: bytes, start: int, end: int) -> int:
    """Return `end`, or one less when it would part a backslash from the character it escapes."""
    first = end
    while first > start and text[first - 1] == ord("\\"):
        first -= 1
    return end - 1 if (end - first) % 2 and end - 1 > start else end
