"""Events of a stretch of an audit log: which lines belong to each, and which events are plain enough to be read by their columns.

An event is plain when its records are those of one system call in the kernel's own order, or one record of a program. Lines of
several events may stand between each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mailwitness.readers import audit_lines
from mailwitness.readers.audit_lines import EOE, EXECVE, FIRST_ALONE, OTHER, PATH, SYSCALL
from mailwitness.readers.byte_words import Text

if TYPE_CHECKING:
    from mailwitness.readers.audit_lines import Lines, Mask, Odd
    from mailwitness.readers.index import Positions


class Groups(NamedTuple):
    """The events of some lines, in the order of their first lines.

    Attributes:
        lines: indexes of lines, those of one event together and in their order.
        firsts: where each event starts in these.
        counts: how many lines each has.
        is_plain: whether its columns say everything; else it has to be taken apart record by record.
        parts: indexes of the records in a form of their own, by event.
    """

    lines: Positions
    firsts: Positions
    counts: Positions
    is_plain: Mask
    parts: dict[int, list[int]]

    def of(self, event: int) -> Positions:
        """Return the indexes of an event's lines."""
        return self.lines[self.firsts[event] : self.firsts[event] + self.counts[event]]

    def only(self, chosen: Positions) -> Groups:
        """Return some of the events."""
        if len(chosen) == len(self.firsts):
            return self
        counts = self.counts[chosen]
        firsts = np.cumsum(counts) - counts
        entries = np.repeat(self.firsts[chosen] - firsts, counts) + np.arange(int(counts.sum()))
        parts = (
            {new: self.parts[old] for new, old in enumerate(chosen.tolist()) if old in self.parts}
            if self.parts
            else {}
        )
        return Groups(self.lines[entries], firsts, counts, self.is_plain[chosen], parts)


def group(these: Lines, odd: Odd, nodes: dict[bytes, int]) -> Groups:
    """Put the lines of each event together."""
    usual = np.flatnonzero(these.kinds != OTHER)
    lines = usual
    keys: tuple[Positions, ...] = (these.nodes[usual], these.times[usual], these.serials[usual])
    part_of = np.full(len(usual), -1, dtype=np.int64)
    if odd.parts:
        lines, keys, part_of = _with_parts(lines, keys, odd, nodes)
    if not len(lines):
        nothing = np.zeros(0, dtype=np.int64)
        return Groups(nothing, nothing, nothing, np.zeros(0, dtype=np.bool_), {})
    event = _events(keys)
    if (event[1:] < event[:-1]).any():
        order = np.argsort(event, kind="stable")
        lines, event, part_of = lines[order], event[order], part_of[order]
    firsts = np.flatnonzero(np.concatenate([[True], event[1:] != event[:-1]]))
    counts = np.diff(np.append(firsts, len(lines)))
    is_plain = _plain(these, lines, event, firsts, counts)
    parts: dict[int, list[int]] = {}
    for place in np.flatnonzero(part_of >= 0).tolist():
        is_plain[event[place]] = False
        parts.setdefault(int(event[place]), []).append(int(part_of[place]))
    return Groups(lines, firsts, counts, is_plain, parts)


def _with_parts(
    lines: Positions, keys: tuple[Positions, ...], odd: Odd, nodes: dict[bytes, int]
) -> tuple[Positions, tuple[Positions, ...], Positions]:
    """Add the records in a form of their own to the lines: those of the same id belong to the same event."""
    written: dict[tuple[bytes, bytes], int] = {}
    own = []
    for part in odd.parts:
        usual = audit_lines.usual_id(part.key)
        node = nodes.setdefault(part.node, len(nodes))
        own.append(
            (node, *usual)
            if usual
            else (node, 0, -1 - written.setdefault((part.node, part.key), len(written)))
        )
    added = np.array(own, dtype=np.int64)
    joined = [np.concatenate([key, added[:, i]]) for i, key in enumerate(keys)]
    all_lines = np.concatenate([lines, np.array([part.line for part in odd.parts], dtype=np.int64)])
    part_of = np.concatenate([np.full(len(lines), -1), np.arange(len(odd.parts))])
    order = np.argsort(all_lines, kind="stable")
    return all_lines[order], tuple(key[order] for key in joined), part_of[order]


def _events(keys: tuple[Positions, ...]) -> Positions:
    """Return the number of each line's event, by the first line of each."""
    starts_run = np.zeros(len(keys[0]), dtype=np.bool_)
    starts_run[0] = True
    for key in keys:
        starts_run[1:] |= key[1:] != key[:-1]
    runs = np.flatnonzero(starts_run)
    of_run = [key[runs] for key in keys]
    order = np.lexsort(of_run)
    is_new = np.zeros(len(runs), dtype=np.bool_)
    is_new[0] = True
    for key in of_run:
        is_new[1:] |= key[order[1:]] != key[order[:-1]]
    # lexsort is stable: the first of equal runs is the earliest.
    first = order[is_new][np.cumsum(is_new) - 1]
    earliest = np.empty(len(runs), dtype=np.int64)
    earliest[order] = first
    number = np.cumsum(earliest == np.arange(len(runs))) - 1
    of_event: Positions = number[earliest][np.cumsum(starts_run) - 1]
    return of_event


def _plain(these: Lines, lines: Positions, event: Positions, firsts: Positions, counts: Positions) -> Mask:
    """Tell which events are one system call with its records in order, or one record of a program.

    Of a program that was started the call itself may be missing.
    """
    kinds = these.kinds[lines]
    head = kinds[firsts]
    is_plain: Mask = (head == SYSCALL) | (head == EXECVE) | ((head >= FIRST_ALONE) & (counts == 1))
    wrong = np.zeros(len(lines), dtype=np.bool_)
    follows = event[1:] == event[:-1]
    wrong[1:] = follows & (
        (kinds[1:] <= kinds[:-1]) & ~((kinds[1:] == PATH) & (kinds[:-1] == PATH)) | (kinds[1:] > EOE)
    )
    wrong[0] = False
    is_plain[event[wrong]] = False
    return is_plain


def clean_cut(these: Lines, groups: Groups, before: int) -> int:
    """Return the last place up to ``before`` where no event has lines on both sides; 0 when there is none."""
    last = np.arange(len(these.starts))
    ends = groups.firsts + groups.counts - 1
    np.maximum.at(last, groups.lines[groups.firsts], groups.lines[ends])
    reach = np.maximum.accumulate(last)
    is_clean = (reach == np.arange(len(last))) & (these.ends <= before)
    found = np.flatnonzero(is_clean)
    return int(these.ends[found[-1]]) if len(found) else 0


def before(these: Lines, odd: Odd, groups: Groups, cut: int) -> tuple[Lines, Odd, Groups]:
    """Leave out the lines behind a clean cut, with what the patterns found on them, and their events."""
    count = int(np.searchsorted(these.ends, cut, side="right"))
    these, odd = audit_lines.before(these, odd, count)
    heads = groups.lines[groups.firsts]
    # Events stand in the order of their first lines.
    events = int(np.searchsorted(heads, count))
    entries = int(groups.firsts[events]) if events < len(heads) else len(groups.lines)
    parts = {event: mine for event, mine in groups.parts.items() if event < events}
    return (
        these,
        odd,
        Groups(
            groups.lines[:entries],
            groups.firsts[:events],
            groups.counts[:events],
            groups.is_plain[:events],
            parts,
        ),
    )


def taken_out(
    found: Text, these: Lines, groups: Groups, bases: Positions
) -> tuple[Text, Lines, Groups, Positions]:
    """Return the text of some events by itself, with their lines and where the enriched part of each begins.

    What is done with these events then costs no more than they are.
    """
    is_taken = np.zeros(len(these.starts), dtype=np.bool_)
    is_taken[groups.lines] = True
    lines = np.flatnonzero(is_taken)
    texts = audit_lines.texts(found, these).take(pa.array(lines))
    _, offsets, content = texts.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[:-1]
    moved = starts - these.starts[lines]
    first, stop = these.ids
    kept = audit_lines.Lines(
        starts,
        these.stops[lines] + moved,
        these.ends[lines] + moved,
        these.numbers[lines],
        these.kinds[lines],
        these.nodes[lines],
        these.times[lines],
        these.serials[lines],
        (first[lines] + moved, stop[lines] + moved),
    )
    own = groups._replace(lines=(np.cumsum(is_taken) - 1)[groups.lines])
    return Text(content.to_pybytes()), kept, own, bases[lines] + moved
