"""Plain events of the audit log as columns: every field is found by its place in the kernel's own order, for all events at once.

The order of fields is fixed (kernel ``audit_log_exit``, ``audit_log_task_info``, ``audit_log_name``; audit-userspace ``audit_logging.c``).
A line whose fields are not exactly these is not plain: `audit_event` takes its event apart. Only the last field of a line may be cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mailwitness.readers.audit_lines import FIRST_ALONE, SYSCALL
from mailwitness.readers.byte_words import digits, masked, word

if TYPE_CHECKING:
    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Mask
    from mailwitness.readers.byte_words import Text, Words
    from mailwitness.readers.index import Positions

_CALL = (
    *(
        "arch",
        "syscall",
        "success",
        "exit",
        "a0",
        "a1",
        "a2",
        "a3",
        "items",
        "ppid",
        "pid",
        "auid",
        "uid",
        "gid",
    ),
    *("euid", "suid", "fsuid", "egid", "sgid", "fsgid", "tty", "ses", "comm", "exe"),
)
# Names of fields behind the separator, and the columns they go to: a database does not tell AUID from auid.
_ENRICHED = (("AUID", "login"), ("UID", "account"), ("GID", ""), ("EUID", "effective"))
# All others of a system call are numbers, unless the line is damaged; then `unquoted` or the names find it.
_MAY_BE_NOTHING = ("success", "exit", "tty", "comm", "exe", "key")
_HEAD = ("pid", "uid", "auid", "ses")
_TAIL = ("exe", "hostname", "addr", "terminal", "res")
_QUOTE, _MARK, _SEPARATOR = ord('"'), ord("'"), 0x1D
_NOTHING = word(b"(null)"), word(b"(none)"), word(b"?")


class Tokens:
    """What stands between blanks on some lines, up to a place on each.

    All of a line is looked at before the next line: the text is far larger than what the processor has at hand.
    """

    def __init__(self, found: Text, blanks: Positions, stops: Positions, count: int) -> None:
        """Take the index of the blank before the first token, where each line stops, and how many tokens are asked for."""
        limits = stops[:, None]
        cuts = np.minimum(found.blanks[blanks[:, None] + np.arange(count + 1)], limits)
        self._stops = stops
        self._cuts = np.ascontiguousarray(cuts.T)
        self._words = np.ascontiguousarray(found.at(np.minimum(cuts[:, :-1] + 1, limits)).T)
        # Which tokens stand on all lines.
        self._is_full = [bool((cut < stops).all()) for cut in self._cuts]
        self._found = found

    def start(self, token: int) -> Positions:
        """Return where a token starts."""
        cut: Positions = self._cuts[token]
        return cut + 1 if self._is_full[token] else np.minimum(cut + 1, self._stops)

    def stop(self, token: int) -> Positions:
        """Return where a token stops."""
        found: Positions = self._cuts[token + 1]
        return found

    def is_there(self, token: int) -> Mask:
        """Tell on which lines there is such a token."""
        there: Mask = self._cuts[token] < self._stops
        return there

    def word(self, token: int) -> Words:
        """Return the first eight bytes from each token on."""
        found: Words = self._words[token]
        return found

    def named(self, token: int, name: str) -> tuple[Positions, Positions, Mask]:
        """Return where the value of a field starts and stops, and where another field than this stands in its place.

        The last token of a line may be cut within the name: then there is no such field.
        """
        sign = name.encode() + b"="
        start, stop = self.start(token), self.stop(token)
        right: Mask = masked(self._words[token], len(sign)) == word(sign[:8])
        if len(sign) > 8:  # noqa: PLR2004 - bytes of a word
            right &= masked(self._found.at(start + 8), len(sign) - 8) == word(sign[8:])
        if self._is_full[token] and right.all():
            return start + len(sign), stop, ~right
        there = self.is_there(token)
        right &= there
        is_cut = (stop >= self._stops) & (stop - start < len(sign))
        return np.where(right, start + len(sign), 0), np.where(right, stop, 0), there & ~right & ~is_cut


class Columns:
    """The texts of events by column, and which events turned out not to be plain."""

    def __init__(self, found: Text, events: int, is_plain: Mask, keys: frozenset[str]) -> None:
        """Take the stretch, how many events there are, and the columns that are asked for."""
        self.found = found
        self.events = events
        self.is_plain = is_plain
        self.keys = keys
        self.places: dict[str, tuple[Positions, Positions]] = {}
        self.marks: dict[str, Mask] = {}
        # Texts that do not stand in the stretch as they are, and which of them each event has; -1 for none.
        self.made: dict[str, tuple[pa.Array, Positions]] = {}

    def put(self, name: str, events: Positions, starts: Positions, stops: Positions) -> None:
        """Take the places of a column's texts for some events."""
        if name not in self.keys:
            return
        if name not in self.places:
            self.places[name] = (np.zeros(self.events, dtype=np.int64), np.zeros(self.events, dtype=np.int64))
        mine = self.places[name]
        mine[0][events], mine[1][events] = starts, stops

    def text(self, name: str, rows: Positions) -> pa.Array:
        """Return a column's texts for some events; null where there is none."""
        if name in self.made:
            texts, which = self.made[name]
            return texts.take(pa.array(which[rows], mask=which[rows] < 0))
        if name not in self.places:
            return pa.nulls(len(rows), pa.string_view())
        starts, stops = self.places[name]
        return self.found.strings(starts[rows], stops[rows])

    def give_up(self, events: Positions, wrong: Mask) -> None:
        """Leave events to be taken apart record by record."""
        self.is_plain[events[wrong]] = False

    def number(self, events: Positions, starts: Positions, stops: Positions) -> Positions:
        """Return short decimal numbers; 0 for an empty text. Anything else is not plain."""
        length = (stops - starts).astype(np.uint64)
        shift = (np.uint64(8) - np.minimum(length, np.uint64(8))) * np.uint64(8)
        filled = self.found.at(starts) << shift | np.uint64(0x3030303030303030) >> (np.uint64(64) - shift)
        value, good = digits(filled)
        self.give_up(events, ~good | (length > 8))  # noqa: PLR2004 - bytes of a word
        return value


def unquoted(
    columns: Columns, events: Positions, starts: Positions, stops: Positions, last: Positions
) -> tuple[Positions, Positions]:
    """Return the text within quotes; only at the end of a line may the closing one be missing.

    What is neither quoted nor one of the words for nothing is hex, which is not plain.
    """
    data = columns.found.data
    is_quoted = (stops > starts) & (data[starts] == _QUOTE)
    begin = starts + is_quoted
    is_closed = is_quoted & (stops > begin) & (data[stops - 1] == _QUOTE)
    short = masked(columns.found.at(starts), np.clip(stops - starts, 0, 8))
    is_nothing = np.isin(short, _NOTHING) | (starts == stops)
    columns.give_up(events, ~is_quoted & ~is_nothing | is_quoted & ~is_closed & (stops < last))
    return begin, stops - is_closed


def without_nothing(found: Text, starts: Positions, stops: Positions) -> Positions:
    """Return where texts stop; words for nothing stop where they start."""
    short = masked(found.at(starts), np.clip(stops - starts, 0, 8))
    is_short = stops - starts <= len("(null)")
    is_nothing = is_short & ((short == _NOTHING[0]) | (short == _NOTHING[1]) | (short == _NOTHING[2]))
    kept: Positions = np.where(is_nothing, starts, stops)
    return kept


def separators(found: Text, starts: Positions, stops: Positions) -> Positions:
    """Return where the enriched part of each line begins; where the line stops if it has none."""
    places = np.append(np.flatnonzero(found.data[: found.size] == _SEPARATOR), found.size)
    if len(places) == 1:
        return stops
    found_at: Positions = np.minimum(places[np.searchsorted(places, starts)], stops)
    return found_at


Places = dict[str, tuple["Positions", "Positions"]]


def add_calls(columns: Columns, these: Lines, groups: Groups, bases: Positions) -> tuple[Positions, Places]:
    """Read the records of system calls; return their events and where their fields stand.

    Args:
        columns: take the texts.
        these: the lines.
        groups: their events.
        bases: where the enriched part of each line begins.
    """
    heads = groups.lines[groups.firsts]
    events = np.flatnonzero(columns.is_plain & (these.kinds[heads] == SYSCALL))
    line = heads[events]
    blanks = these.blanks(columns.found, line)
    is_whole = columns.found.blanks[blanks + len(_CALL)] < bases[line]
    if is_whole.all():
        return events, _calls(columns, events, blanks, bases[line], these.stops[line])
    places: Places = {
        name: (np.zeros(len(events), dtype=np.int64), np.zeros(len(events), dtype=np.int64))
        for name in (*_CALL, "key")
    }
    # Cut lines take more looks: they are read by themselves.
    for chosen in (np.flatnonzero(is_whole), np.flatnonzero(~is_whole)):
        mine = _calls(
            columns,
            events[chosen],
            blanks[chosen],
            bases[line[chosen]],
            these.stops[line[chosen]],
        )
        for name, (starts, stops) in mine.items():
            places[name][0][chosen], places[name][1][chosen] = starts, stops
    return events, places


def _calls(
    columns: Columns, events: Positions, blanks: Positions, base: Positions, stops: Positions
) -> Places:
    """Read the records of system calls that are alike, and return where their fields stand."""
    found = columns.found
    tokens = Tokens(found, blanks, base, len(_CALL) + 3)
    wrong = np.zeros(len(events), dtype=np.bool_)
    places: Places = {}
    for number, name in enumerate(_CALL):
        start, stop, is_other = tokens.named(number, name)
        wrong |= is_other
        places[name] = (start, stop)
    subject_start, subject_stop, has_no_subject = tokens.named(len(_CALL), "subj")
    start, stop, is_other = tokens.named(len(_CALL) + 1, "key")
    wrong |= (subject_stop > subject_start) & (found.data[subject_start] == _QUOTE)
    if has_no_subject.any():
        early_start, early_stop, is_other_early = tokens.named(len(_CALL), "key")
        start, stop = np.where(has_no_subject, early_start, start), np.where(has_no_subject, early_stop, stop)
        wrong |= np.where(
            has_no_subject,
            is_other_early | tokens.is_there(len(_CALL) + 1),
            is_other | tokens.is_there(len(_CALL) + 2),
        )
    else:
        wrong |= is_other | tokens.is_there(len(_CALL) + 2)
    places["key"] = (start, stop)
    for name in ("comm", "exe", "key"):
        places[name] = unquoted(columns, events, *places[name], base)
    for name in columns.keys & places.keys():
        start, stop = places[name]
        columns.put(
            name, events, start, without_nothing(found, start, stop) if name in _MAY_BE_NOTHING else stop
        )
    _add_accounts(columns, events, base, stops)
    columns.give_up(events, wrong)
    return places


def _add_accounts(columns: Columns, events: Positions, bases: Positions, stops: Positions) -> None:
    """Read the names of accounts behind the separator: ARCH=x86_64 SYSCALL=openat AUID="eva" UID="root" GID="root" EUID="root"."""
    rows = np.flatnonzero(bases < stops)
    if not len(rows):
        return
    found, base, stop = columns.found, bases[rows], stops[rows]
    tokens = Tokens(found, np.searchsorted(found.blanks, base), stop, 1 + len(_ENRICHED))
    for number, (name, column) in enumerate(_ENRICHED, 1):
        start, end, is_other = tokens.named(number, name)
        is_named = (end - start > 1) & (found.data[start] == _QUOTE) & (found.data[end - 1] == _QUOTE)
        # A name that holds a blank, or is cut: only a cut one is none.
        columns.give_up(events[rows], is_other | (end > start) & ~is_named & (end < stop))
        columns.put(column, events[rows], np.where(is_named, start + 1, 0), np.where(is_named, end - 1, 0))


def add_alone(columns: Columns, these: Lines, groups: Groups, bases: Positions) -> None:
    """Read records of programs: pid=, uid=, auid=, ses=, subj=, msg='op=... acct="eva" exe="..." hostname=? addr=? terminal=? res=success'."""
    found = columns.found
    heads = groups.lines[groups.firsts]
    events = np.flatnonzero(columns.is_plain & (these.kinds[heads] >= FIRST_ALONE))
    if not len(events):
        return
    line = heads[events]
    base, blank = bases[line], these.blanks(found, line)
    tokens = Tokens(found, blank, base, len(_HEAD) + 1)
    wrong = np.zeros(len(events), dtype=np.bool_)
    for number, name in enumerate(_HEAD):
        start, stop, is_other = tokens.named(number, name)
        wrong |= is_other
        columns.put(name, events, start, stop)
    _, _, has_no_subject = tokens.named(4, "subj")
    message = 5 - has_no_subject.astype(np.int64)
    last = np.searchsorted(found.blanks, base) - 1
    own = Tokens(found, blank + message, base, 2)
    wrong |= masked(own.word(0), 5) != word(b"msg='")
    # Operation or unit, at most the modules that granted it, then account or command, and the other five.
    middle = last - 5 - (blank + message)
    wrong |= (middle < 1) | (middle > 2) | (found.data[np.maximum(base - 1, 0)] != _MARK)  # noqa: PLR2004 - as said
    begin = own.start(0) + len(b"msg='")
    for name, sign in (("op", b"op="), ("unit", b"unit=")):
        is_it = masked(found.at(begin), len(sign)) == word(sign)
        start = np.where(is_it, begin + len(sign), 0)
        columns.put(name, events, start, np.where(is_it, own.stop(0), 0))
        wrong |= is_it & (found.data[start] == _QUOTE)
    wrong |= (middle > 1) & (own.word(1) != word(b"grantors"))
    _add_tail(columns, events, Tokens(found, np.maximum(last - 5, 0), base - 1, 1 + len(_TAIL)), base - 1)
    columns.give_up(events, wrong)
    _add_users(columns, events, base, these.stops[line])


def _add_tail(columns: Columns, events: Positions, tokens: Tokens, last: Positions) -> None:
    """Read the last six fields of a program's message."""
    found = columns.found
    wrong = np.zeros(len(events), dtype=np.bool_)
    account, command = tokens.named(0, "acct"), tokens.named(0, "comm")
    for name, (start, stop, _) in (("acct", account), ("comm", command)):
        begin, end = unquoted(columns, events, start, stop, last + 1)
        columns.put(name, events, begin, without_nothing(found, begin, end))
    wrong |= (account[1] == 0) & (command[1] == 0)
    for number, name in enumerate(_TAIL, 1):
        start, stop, is_other = tokens.named(number, name)
        wrong |= is_other | (stop == 0)
        if name == "exe":
            start, stop = unquoted(columns, events, start, stop, last + 1)
        else:
            wrong |= found.data[start] == _QUOTE
        columns.put(name, events, start, without_nothing(found, start, stop))
    columns.give_up(events, wrong)


def _add_users(columns: Columns, events: Positions, bases: Positions, stops: Positions) -> None:
    """Read the names of accounts of a program's record: UID="root" AUID="eva", and others behind them."""
    rows = np.flatnonzero(bases < stops)
    if not len(rows):
        return
    found, base, stop = columns.found, bases[rows], stops[rows]
    # The first one begins at the separator itself, which stands where a blank would.
    blank = np.searchsorted(found.blanks, base)
    places = (
        (base + 1, np.minimum(found.blanks[blank], stop)),
        (np.minimum(found.blanks[blank] + 1, stop), np.minimum(found.blanks[blank + 1], stop)),
    )
    for (sign, column), (begin, end) in zip(
        ((b'UID="', "account"), (b'AUID="', "login")), places, strict=True
    ):
        is_named = (
            (masked(found.at(begin), len(sign)) == word(sign))
            & (found.data[end - 1] == _QUOTE)
            & (end - begin > len(sign))
        )
        columns.give_up(events[rows], ~is_named)
        columns.put(column, events[rows], begin + len(sign), end - 1)
