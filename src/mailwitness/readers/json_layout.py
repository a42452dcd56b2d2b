"""What the good records of a file have in common, so that the next one is found after damage."""

from __future__ import annotations

import re
from collections import Counter

import msgspec

from mailwitness.readers.json_text import valid_end
from mailwitness.readers.json_tokens import BRACKET_OR_STRING, QUOTE

_SEPARATOR = re.compile(rb"[ \t\r\n]*+,?+[ \t\r\n]*+")
_OBJECT_START = re.compile(rb'\{(?=[ \t\r\n]*+["}])')
# One that is nobody's member.
_INNER_START = re.compile(rb"(?<!:)(?<!:[ ])\{")
_ROW_START = re.compile(rb"\[")
_FIRST_KEY = re.compile(rb'\{[ \t\r\n]*+"[^"\\]{1,64}+"[ \t\r\n]*+:')
# Outside any array a value starts on a line of its own, or as an array of objects that is nobody's member.
_TOP_START = re.compile(
    rb'\{(?<=\n\{)(?=[ \t\r\n]*+["}])|\[(?<!:\[)(?<!:[ ]\[)(?=[ \t\r\n]*+\{[ \t\r\n]*+["}])'
)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CELLS = msgspec.json.Decoder(list[msgspec.Raw])
_MAX_KEYS = 1000
# More than this part of a record's keys was met in records before it, and it has more than this part of the
# keys that most of them have; the objects nested in a record (parameters, items) fail on one or the other.
_MIN_SHARED = 0.5
# So many candidates are looked at in one search: a record of endless nesting must not make it quadratic.
_SEARCH_BUDGET = 4096
# After damage a value is followed this far for its end, or twice the longest record seen: a quote too many
# would else be followed to the end of all bytes at hand, again and again.
_FOLLOW_BYTES = 32 << 10
# So many objects in a row are believed to be records when no good record has been seen yet.
_ENOUGH_SIBLINGS = 16


def members_of(raw: bytes) -> dict[str, msgspec.Raw] | None:
    """Return the members of an object undecoded, or None when it is damaged, too deep or not an object."""
    try:
        return _MEMBERS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def cells_of(raw: bytes) -> list[msgspec.Raw] | None:
    """Return the elements of an array undecoded, or None when it is damaged, too deep or not an array."""
    try:
        return _CELLS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Layout:
    """Remember how records look and where they stand.

    `columns` is None for records that are objects, else the number of cells of a row. `gap` holds the bytes
    between two records (None: not known yet). `lead` holds what precedes a record on its line (None: records
    do not start lines).
    """

    def __init__(self, columns: int | None = None) -> None:
        """Start without knowledge."""
        self.columns = columns
        self.brackets = b"{}" if columns is None else b"[]"
        self.gap: bytes | None = None
        self.lead: bytes | None = None
        self._opening = b""  # how the last record learned from begins, with its first key
        self._keys: Counter[str] = Counter()  # in how many of the records learned from a key was met
        self._learned = 0
        self._is_provisional = False  # the only example may be the beginning of a record
        self._follow = _FOLLOW_BYTES

    def learn(self, text: bytes, start: int, end: int) -> None:
        """Take the good record `text[start:end]` as an example, if another seems to follow it.

        What is followed by anything else may be but the beginning of a record with a brace too many; it
        counts only as long as there is nothing better.
        """
        separator = _SEPARATOR.match(text, end)
        if separator is None or text[separator.end() : separator.end() + 1] != self.brackets[:1]:
            if not self._learned:
                self._count_keys(text[start:end])
                self._is_provisional = True
            return
        if self._is_provisional:
            self._keys.clear()
            self._learned, self._is_provisional = 0, False
        self.gap = separator[0]
        self.lead = self.gap.rpartition(b"\n")[2] if b"\n" in self.gap else None
        self._follow = max(self._follow, 2 * (end - start))
        opening = _FIRST_KEY.match(text, start, end)
        self._opening = opening[0] if opening else b""
        if len(self._keys) < _MAX_KEYS:
            self._count_keys(text[start:end])

    def _count_keys(self, raw: bytes) -> None:
        if self.columns is None and (members := members_of(raw)):
            self._keys.update(members.keys())
            self._learned += 1

    def starts_line(self, text: bytes, place: int) -> bool:
        """Say whether a record at `place` stands on its line exactly as the others do."""
        if self.lead is None:
            return False
        before = b"\n" + self.lead
        return text[max(0, place - len(before)) : place] == before

    def next_line(self, text: bytes, start: int, end: int) -> int:
        """Return where the next record on a line of its own begins, or `end` where none does."""
        if self.lead is None:
            return end
        seam = b"\n" + self.lead + self.brackets[:1]
        found = text.find(seam, start, end)
        return end if found < 0 else found

    def resembles(self, raw: bytes) -> bool:
        """Say whether a complete value is a record like the others."""
        if self.columns is not None:
            return len(cells_of(raw) or ()) == self.columns
        members = members_of(raw)
        if not members:
            return False
        if len(members) > 2 * len(self._keys) > 0:
            return False
        shared = sum(1 for key in members if key in self._keys)
        if self._keys and shared <= _MIN_SHARED * len(members):
            return False
        common = [key for key, count in self._keys.items() if 2 * count > self._learned]
        owned = sum(1 for key in common if key in members)
        return not self._keys or (shared > _MIN_SHARED * len(members) and owned > _MIN_SHARED * len(common))

    @property
    def is_known(self) -> bool:
        """Say whether a good record has been seen."""
        return bool(self._keys) or self.columns is not None

    def last_seam(self, text: bytes, start: int, end: int) -> int:
        """Return the place after the last record in `text[start:end]` that is followed by another, or -1.

        The answer is a guess; only decoding the bytes proves it.
        """
        if self.gap is None:
            return -1
        seam = self.brackets[1:] + self.gap + self.brackets[:1]
        for _ in range(64):
            place = text.rfind(seam, start, end)
            if place < 0:
                return -1
            following = place + len(seam) - 1
            begins_alike = self._opening and text.startswith(self._opening, following)
            if self.lead is not None or begins_alike or self._is_whole_record(text, following):
                return place + 1
            end = place + len(seam) - 1
        return -1

    def _is_whole_record(self, text: bytes, start: int) -> bool:
        end = valid_end(text, start, start + self._follow)
        return end > 0 and self.resembles(text[start:end])

    def find_next(self, text: bytes, start: int, stop: int, end: int, *, in_array: bool) -> int:
        """Return where the next record after damage starts, or -1.

        Args:
            text: the bytes at hand.
            start: first place to look at.
            stop: candidates start before it.
            end: candidates must be complete before it.
            in_array: False when the damage lies between top-level values.
        """
        found = self._find_like(text, start, stop, end) if self.is_known or in_array else -1
        if in_array:
            return found
        top = _TOP_START.search(text, start, stop if found < 0 else found)
        return top.start() if top else found

    def _find_like(self, text: bytes, start: int, stop: int, end: int) -> int:
        pattern = _OBJECT_START if self.columns is None else _ROW_START
        line = self._next_on_line(text, start, stop)
        if line >= 0:
            return line
        budget = _SEARCH_BUDGET
        for match in pattern.finditer(text, start, stop):
            place = match.start()
            if self.starts_line(text, place):
                return place
            if budget > 0 and _may_start_record(text, place):
                budget -= 1
                if self._like(text, place, end) > 0:
                    return place
        return -1

    def _next_on_line(self, text: bytes, start: int, stop: int) -> int:
        """Return where the next record on a line of its own begins if no value before it can be like a record, else -1.

        Such a value has most of the keys that most records have, so these stand somewhere behind its bracket.
        """
        line = self.next_line(text, start, stop)
        if line == stop or self.columns is not None:
            return -1
        line = text.index(self.brackets[:1], line)
        if line >= stop or not _OBJECT_START.match(text, line):
            return -1
        first = next((m.start() for m in _INNER_START.finditer(text, start, line)), line)
        common = [key for key, count in self._keys.items() if 2 * count > self._learned]
        behind = text[first:line]
        if b"\\u" in behind:
            return -1
        owned = sum(1 for key in common if b'"%b"' % key.encode() in behind)
        return -1 if owned > _MIN_SHARED * len(common) or not common else line

    def starts_at(self, text: bytes, place: int) -> bool:
        """Say whether a record stands at `place`, as far as one can tell after damage."""
        return self.starts_line(text, place) or self._like(text, place, len(text)) > 0

    def _like(self, text: bytes, place: int, end: int) -> int:
        """Return the place after the value at `place` if that is like the records before it, else -1."""
        after = valid_end(text, place, min(end, place + self._follow))
        if after < 0 or not self.resembles(text[place:after]):
            return -1
        return after if self.is_known or _has_siblings(text, after) else -1


def _has_siblings(text: bytes, place: int) -> bool:
    """Say whether the objects that follow `place` go on to the end of the text, or far enough.

    Objects nested in a damaged record are few, and something of that record follows them.
    """
    for _ in range(_ENOUGH_SIBLINGS):
        separator = _SEPARATOR.match(text, place)
        following = separator.end() if separator else place
        if text[following : following + 1] != b"{":
            return not text[following:].strip(b" \t\r\n]")
        place = valid_end(text, following, following + _FOLLOW_BYTES)
        if place < 0:
            return True  # the next damage; nested objects would have come to their end before
    return True


def _may_start_record(text: bytes, place: int) -> bool:
    """Say whether what stands before an opening bracket allows a record: never the value of a member."""
    before = place - 1
    while before >= 0 and text[before] in b" \t\r\n":
        before -= 1
    if before < 0:
        return True
    if text[before] == ord("["):
        return before == 0 or text[before - 1] == ord("\n")
    return text[before] != ord(":")


def open_depth(text: bytes, start: int, end: int, depth: int) -> tuple[int, int, bool]:
    """Follow brackets until `depth` open ones are closed.

    Returns:
        The place after the closing bracket or -1, the open brackets at `end`, and whether a string is open
        there.
    """
    is_open = False
    for match in BRACKET_OR_STRING.finditer(text, start, end):
        byte = text[match.start()]
        if byte == QUOTE:
            is_open = match.end() == end and (len(match[0]) == 1 or not match[0].endswith(b'"'))
            continue
        depth += 1 if byte in b"{[" else -1
        if depth <= 0:
            return match.end(), 0, False
    return -1, depth, is_open
