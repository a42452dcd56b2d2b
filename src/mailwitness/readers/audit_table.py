"""Plain events of a stretch of an audit log as a table of Arrow columns that point into the stretch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mailwitness.readers import audit_columns, audit_event, audit_paths
from mailwitness.readers.audit_fields import text
from mailwitness.readers.audit_lines import CWD, EOE, EXECVE, KINDS, PATH, PROCTITLE, SYSCALL

if TYPE_CHECKING:
    from mailwitness.readers.audit_columns import Columns
    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Mask
    from mailwitness.readers.audit_paths import Call, Files
    from mailwitness.readers.audit_wanted import Wanted
    from mailwitness.readers.byte_words import Text
    from mailwitness.readers.index import Positions

_NAMED = pa.dictionary(pa.int32(), pa.string())
_OF_FILES = ("cwd", "title", "path", "owner", "source")
_TEXTS = (
    "id", "serial", *audit_event.KEPT, "a0", "a1", "a2", "a3", "login", "account", "effective", "arguments", "started", *_OF_FILES,
)  # fmt: skip
_WORDS = ("node", "type", "types", "architecture", "call", "flags", "action", "role")
_MARKS = ("is_exec", "is_relative", "is_source_relative", "is_truncated", "is_replacement", "salvaged")
# Commands come again and again: what they do is asked once of each. Titles are decoded.
_KINDS = {"arguments": _NAMED, "started": _NAMED, "title": pa.string()}
SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("micros", pa.int64()),
        *((name, _KINDS.get(name, pa.string_view())) for name in _TEXTS),
        *((name, _NAMED) for name in _WORDS),
        *((name, pa.bool_()) for name in _MARKS),
    ]
)


# What there is of brief events, see `audit_brief`.
BRIEF = pa.schema(
    [
        ("position", pa.int64()),
        ("micros", pa.int64()),
        ("id", pa.string()),
        ("serial", pa.string()),
        ("node", _NAMED),
        ("type", _NAMED),
        ("salvaged", pa.bool_()),
    ]
)
_SERIAL_AT = len("1772442201.349:")


def texts(needs: frozenset[str]) -> frozenset[str]:
    """Return the columns that raw keys are made of."""
    behind = {
        "AuditId": ("id",),
        "Serial": ("serial",),
        "LoginUser": ("login", "auid"),
        "UserName": ("account", "uid"),
        "EffectiveUser": ("effective", "euid"),
        "Cwd": ("cwd",),
        "CommandLine": ("arguments", "started", "title"),
        "IsExec": ("arguments", "started"),
        "Path": ("path", "cwd"),
        "Name": ("path",),
        "Owner": ("owner",),
        "SourcePath": ("source", "cwd"),
    }
    return frozenset(name for key in needs for name in behind.get(key, (key,)) if name in _TEXTS)


class Asked(NamedTuple):
    """What is asked of events.

    Attributes:
        keys: columns of texts.
        has_arguments: arguments are columns of their own.
        has_paths: so are the paths of one event.
        is_whole: every event is worth all its columns.
    """

    keys: frozenset[str]
    has_arguments: bool
    has_paths: bool
    is_whole: bool


class Read(NamedTuple):
    """The columns of a stretch, the system calls among its events, and those that are worth all their columns."""

    columns: Columns
    wanted: Mask
    calls: tuple[list[Call], Positions]
    events: Positions
    files: Files
    file_events: Positions


def read(
    found: Text,
    these: Lines,
    groups: Groups,
    bases: Positions,
    asked: Asked,
    known: Wanted,
) -> Read:
    """Find the columns of plain events."""
    columns = audit_columns.Columns(found, len(groups.firsts), groups.is_plain, asked.keys)
    of_entry = np.repeat(np.arange(columns.events), groups.counts)
    hurt = _give_up_foreign(columns, these, groups, of_entry)
    kinds = these.kinds[groups.lines]
    if asked.has_arguments:
        columns.is_plain[of_entry[kinds == EXECVE]] = False
    events, places = audit_columns.add_calls(columns, these, groups, bases)
    audit_columns.add_alone(columns, these, groups, bases)
    calls = audit_paths.calls(columns, events, places)
    counted = np.bincount(of_entry[kinds == PATH], minlength=columns.events)
    salvaged = np.zeros(columns.events, dtype=np.bool_)
    salvaged[events] = columns.number(events, *places["items"]) > counted[events]
    columns.marks["salvaged"] = salvaged
    if asked.has_paths:
        columns.give_up(events, counted[events] > 1)
    bare = _bare(columns, events, calls, of_entry[kinds == EXECVE])
    wanted = known.find(columns, these, groups, bases, events, places)
    wanted |= asked.is_whole
    audit_paths.add_arguments(columns, these, groups, bases)
    # What a program that deletes names may be relative to an open folder: its title says which.
    by_title = bare | _deleting(columns, events, calls)
    titles, titled = audit_paths.add_titles(columns, these, groups, bases, wanted | by_title)
    known.find_titles(titles, titled, by_title, wanted)
    _add_started(columns, bare)
    # What is read of these only stands in the call and its arguments.
    columns.is_plain[wanted & (hurt | (these.kinds[groups.lines[groups.firsts]] == EXECVE)) | bare & hurt] = (
        False
    )
    paths = audit_paths.add_records(columns, these, groups, bases, wanted)
    chosen = np.flatnonzero(wanted[events])
    mine = {name: (starts[chosen], stops[chosen]) for name, (starts, stops) in places.items()}
    files = audit_paths.files(columns, events[chosen], (calls[0], calls[1][chosen]), mine, paths)
    _add_ids(columns, these, groups)
    return Read(columns, wanted, calls, events, files, events[chosen])


def _add_ids(columns: Columns, these: Lines, groups: Groups) -> None:
    """Hand on the ids of all events."""
    heads = groups.lines[groups.firsts]
    starts, stops = (place[heads] for place in these.ids)
    columns.put("id", np.arange(columns.events), starts, stops)
    columns.put("serial", np.arange(columns.events), starts + _SERIAL_AT, stops)


def _bare(
    columns: Columns, events: Positions, calls: tuple[list[Call], Positions], with_arguments: Positions
) -> Mask:
    """Return the events that start a program whose arguments are not there: its command line is its title."""
    bare = np.zeros(columns.events, dtype=np.bool_)
    bare[events] = np.array([call.is_executing for call in calls[0]] or [False])[calls[1]]
    bare[with_arguments] = False
    return bare


def _deleting(columns: Columns, events: Positions, calls: tuple[list[Call], Positions]) -> Mask:
    """Return the events that delete."""
    deleting = np.zeros(columns.events, dtype=np.bool_)
    deleting[events] = np.array([call.is_delete for call in calls[0]] or [False])[calls[1]]
    return deleting


def _add_started(columns: Columns, bare: Mask) -> None:
    """Hand on the titles of programs whose arguments are not there."""
    texts, which = columns.made["title"]
    columns.made["started"] = texts, np.where(bare, which, -1)


def _give_up_foreign(columns: Columns, these: Lines, groups: Groups, of_entry: Positions) -> Mask:
    """Leave events whose call, arguments or message is no plain text to be taken apart; return those of which any line is not."""
    hurt = np.zeros(columns.events, dtype=np.bool_)
    lines = columns.found.foreign_lines(these.starts, these.ends)
    if len(lines):
        is_foreign = np.zeros(len(these.starts), dtype=np.bool_)
        is_foreign[lines] = True
        entries = is_foreign[groups.lines]
        kinds = these.kinds[groups.lines]
        hurt[of_entry[entries]] = True
        columns.is_plain[of_entry[entries & ~np.isin(kinds, (CWD, PATH, PROCTITLE, EOE))]] = False
    return hurt


def rows(
    this: Read, these: Lines, groups: Groups, numbers: Positions, nodes: list[bytes], is_wanted: bool
) -> pa.RecordBatch:
    """Return the rows of plain events: of those that are worth all their columns, or of the others."""
    columns = this.columns
    chosen = np.flatnonzero(columns.is_plain & (this.wanted == is_wanted))
    heads = groups.lines[groups.firsts[chosen]]
    words = _judged(this, chosen, is_wanted)
    words["node"] = ([text(node) for node in nodes], these.nodes[heads])
    words["type"] = (list(KINDS), these.kinds[heads].astype(np.int64))
    kinds = these.kinds[groups.lines].astype(np.int64)
    seen = np.bitwise_or.reduceat(np.left_shift(1, kinds), groups.firsts)[chosen] if len(kinds) else kinds
    combined, which = np.unique(seen, return_inverse=True)
    words["types"] = (
        [",".join(name for kind, name in enumerate(KINDS) if bits >> kind & 1) for bits in combined.tolist()],
        which,
    )
    arrays: dict[str, pa.Array] = {
        "position": pa.array(numbers[chosen]),
        "micros": pa.array(these.times[heads] * 1000),
    }
    for name in _TEXTS:
        kind = _KINDS.get(name, pa.string_view())
        is_there = is_wanted or name not in _OF_FILES
        one = columns.text(name, chosen) if is_there else pa.nulls(len(chosen), kind)
        arrays[name] = one.cast(pa.string()).dictionary_encode() if kind is _NAMED else one.cast(kind)
    for name in _WORDS:
        listed, of_event = words[name]
        arrays[name] = pa.DictionaryArray.from_arrays(
            pa.array(of_event.astype(np.int32)), pa.array(listed, pa.string())
        )
    for name, mark in _marks(this, chosen, is_wanted).items():
        arrays[name] = pa.array(mark)
    return pa.RecordBatch.from_arrays([arrays[name] for name in SCHEMA.names], schema=SCHEMA)


def brief_rows(
    found: Text, these: Lines, groups: Groups, numbers: Positions, salvaged: Mask, nodes: list[bytes]
) -> pa.RecordBatch:
    """Return the rows of brief events; a call is one whichever of its records comes first."""
    heads = groups.lines[groups.firsts]
    start, stop = these.ids[0][heads], these.ids[1][heads]
    kinds = these.kinds[heads].copy()
    is_call = these.kinds[groups.lines] == SYSCALL
    kinds[np.repeat(np.arange(len(heads)), groups.counts)[is_call]] = SYSCALL
    words = ([text(node) for node in nodes], these.nodes[heads]), (list(KINDS), kinds)
    arrays = [
        pa.array(numbers),
        pa.array(these.times[heads] * 1000),
        # Their texts are copied, so that no more of the stretch has to stay in memory.
        found.strings(start, stop).cast(pa.string()),
        found.strings(start + _SERIAL_AT, stop).cast(pa.string()),
        *(
            pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(listed, pa.string()))
            for listed, which in words
        ),
        pa.array(salvaged),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=BRIEF)


def _judged(this: Read, rows: Positions, is_wanted: bool) -> dict[str, tuple[list[str], Positions]]:
    """Return what is known of calls by name: the words, and which of them each row has."""

    def spread(values: Positions, events: Positions) -> Positions:
        full = np.zeros(this.columns.events, dtype=np.int64)
        full[events] = values
        return full[rows]

    calls, which = this.calls
    of_call = spread(which + 1, this.events)
    words = {
        "architecture": (["", *(call.architecture for call in calls)], of_call),
        "call": (["", *(call.name for call in calls)], of_call),
    }
    nothing = ([""], np.zeros(len(rows), dtype=np.int64))
    words |= {"flags": nothing, "action": nothing, "role": nothing}
    if is_wanted:
        files = this.files
        actions, action_of, _ = audit_paths.actions(files)
        names = ["" if value is None else audit_event.flag_names(value) for value in files.flags]
        words["flags"] = (names, spread(files.flag_of, this.file_events))
        words["action"] = (actions, spread(action_of, this.file_events))
        words["role"] = (list(audit_paths.ROLES), spread(np.maximum(files.roles, 0), this.file_events))
    return words


def _marks(this: Read, rows: Positions, is_wanted: bool) -> dict[str, Mask]:
    """Return what is true of each row."""

    def spread(values: Mask, events: Positions) -> Mask:
        full = np.zeros(this.columns.events, dtype=np.bool_)
        full[events] = values
        return full[rows]

    files, events = this.files, this.file_events
    executes = np.array([call.is_executing for call in this.calls[0]] or [False])
    marks = {
        "is_exec": spread(executes[this.calls[1]], this.events),
        "salvaged": this.columns.marks["salvaged"][rows],
    }
    nothing = np.zeros(len(rows), dtype=np.bool_)
    if not is_wanted:
        return marks | dict.fromkeys(
            ("is_relative", "is_source_relative", "is_truncated", "is_replacement"), nothing
        )
    return marks | {
        "is_relative": spread(files.is_relative, events),
        "is_source_relative": spread(files.is_source_relative, events),
        "is_truncated": spread(audit_paths.actions(files)[2], events),
        "is_replacement": spread(files.is_replacement, events),
    }
