"""The values of lines of strict kinds as columns of one table for each group of kinds: texts that point into the log, numbers, constants."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mailwitness.readers.byte_words import masked
from mailwitness.readers.line_kinds import Finder, Found
from mailwitness.readers.line_shapes import NOTHING, Shapes, names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from mailwitness.direct_reads import Fact
    from mailwitness.readers.byte_words import Text
    from mailwitness.readers.index import Positions

    # Lines of a kind, and where each stands among all of their group.
    _Part = tuple[Found, Positions]

_INSIDE_BYTES, _WORD_BYTES = 12, 8
_HALF = np.uint64(32)
# Before the name of a value in the SQL of columns.
PREFIX = "mw_"


class Groups:
    """The groups of kinds of one table of content."""

    def __init__(self, shapes: Shapes) -> None:
        """Take what the lines look like."""
        self.finder = Finder(shapes)
        self.columns = shapes.groups
        self.unread = frozenset(shapes.unread)
        self.kept = frozenset(shapes.kept)
        self.events = {group: frozenset(events) for group, events in shapes.events.items()}
        self._facts = {group: _facts(shapes, group) for group in shapes.groups}
        self._numbers: dict[str, set[str]] = {group: set() for group in shapes.groups}
        self._texts: dict[str, set[str]] = {group: set() for group in shapes.groups}
        self._constants: dict[str, dict[str, list[str]]] = {group: {} for group in shapes.groups}
        for program in shapes.programs:
            for form in program.forms:
                for kind in form.kinds:
                    values = form.values | kind.values
                    for name in names(form.head + kind.line):
                        is_number = name in values and values[name].number
                        (self._numbers if is_number else self._texts)[kind.group].add(name)
                    for name, constant in kind.constants.items():
                        known = self._constants[kind.group].setdefault(name, [])
                        known += [constant] * (constant not in known)

    def facts(self, group: str) -> dict[str, Fact]:
        """Return what is known of all lines of a group: the values of some columns, patterns of others."""
        return dict(self._facts[group])

    def values(self, group: str) -> set[str]:
        """Return the names of all values of a group, as SQL has them."""
        found = self._numbers[group] | self._texts[group] | set(self._constants[group])
        return {PREFIX + name for name in found}

    def batches(
        self, text: Text, found: list[Found], needed: Mapping[str, Collection[str]]
    ) -> Iterator[tuple[str, Positions, dict[str, pa.Array]]]:
        """Yield for each group the numbers of its lines, ascending, and the values of theirs that are needed of it."""
        for group in self.columns:
            mine = [one for one in found if one.kind.group == group]
            if mine:
                rows = np.concatenate([one.rows for one in mine])
                # Where each line stands among those of its group.
                at = np.argsort(rows, kind="stable").argsort() if len(mine) > 1 else np.arange(len(rows))
                cuts = np.cumsum([len(one.rows) for one in mine])[:-1]
                parts = list(zip(mine, np.split(at, cuts), strict=True))
                read = sorted(self.values(group) & set(needed[group]))
                columns = {
                    name: self._column(text, group, name[len(PREFIX) :], parts, len(rows)) for name in read
                }
                yield group, np.sort(rows), columns

    def _column(self, text: Text, group: str, name: str, found: list[_Part], count: int) -> pa.Array:
        if name in self._constants[group]:
            return _constants(name, self._constants[group][name], found, count)
        if name in self._numbers[group]:
            return _numbers(name, found, count)
        if len(found) == 1 and name in found[0][0].spans:
            return texts(text, *found[0][0].spans[name])
        starts, stops = np.zeros((2, count), dtype=np.int64)
        for one, at in found:
            if name in one.spans:
                starts[at], stops[at] = one.spans[name]
        return texts(text, starts, stops)


def _facts(shapes: Shapes, group: str) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    if group in shapes.events:
        facts["MailEvent"] = frozenset(shapes.events[group])
    programs = [
        program.process
        for program in shapes.programs
        if any(kind.group == group for form in program.forms for kind in form.kinds)
        or (group == program.otherwise == NOTHING)
    ]
    if programs:
        facts["ProcessName"] = re.compile("|".join(f"(?:{one})" for one in programs))
    return facts


def _constants(name: str, known: list[str], found: list[_Part], count: int) -> pa.Array:
    codes = np.full(count, len(known), dtype=np.int8)
    for one, at in found:
        if name in one.kind.constants:
            codes[at] = known.index(one.kind.constants[name])
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([*known, ""]))


def _numbers(name: str, found: list[_Part], count: int) -> pa.Array:
    values = np.zeros(count, dtype=np.int64)
    is_missing = np.ones(count, dtype=np.bool_)
    for one, at in found:
        if name in one.numbers:
            values[at], is_missing[at] = one.numbers[name], False
    return pa.array(values, mask=is_missing)


def texts(text: Text, starts: Positions, stops: Positions) -> pa.Array:
    """Return the text between starts and stops as strings that point into the stretch; none of them is null.

    It has to be UTF-8 already.
    """
    lengths = stops - starts
    two = text.words_at(starts, 2)
    letters = two[:, 0]
    views = np.empty((len(starts), 2), dtype="<u8")
    views[:, 0] = lengths.astype(np.uint64) | masked(letters, np.minimum(lengths, 4)) << _HALF
    is_long = lengths > _INSIDE_BYTES
    views[:, 1] = starts.astype(np.uint64) << _HALF
    short = np.flatnonzero(~is_long)
    if len(short):
        # Short strings stand inside their views.
        views[short, 1] = masked(letters[short], lengths[short]) >> _HALF
        rest = short[lengths[short] > _WORD_BYTES]
        views[rest, 1] |= masked(two[rest, 1], lengths[rest] - _WORD_BYTES) << _HALF
    buffers = [None, pa.py_buffer(views), text.buffer]
    return pa.Array.from_buffers(pa.string_view(), len(starts), buffers)
