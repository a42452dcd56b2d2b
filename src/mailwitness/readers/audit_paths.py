"""What plain system calls did to files, many at once: the rules of `audit_event`, for columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mailwitness.readers import audit_event
from mailwitness.readers.audit_columns import Tokens, unquoted
from mailwitness.readers.audit_lines import CWD, EXECVE, PATH, PROCTITLE
from mailwitness.readers.audit_titles import decode
from mailwitness.readers.byte_words import masked, word
from mailwitness.readers.syscalls import ARCHITECTURES, syscall_name

if TYPE_CHECKING:
    from mailwitness.readers.audit_columns import Columns, Places
    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Mask
    from mailwitness.readers.audit_titles import Titles
    from mailwitness.readers.index import Positions

ROLES = ("", "NORMAL", "PARENT", "CREATE", "DELETE", "UNKNOWN")
_NORMAL, _PARENT, _CREATE, _DELETE, _UNKNOWN = range(1, 6)
_PATH = ("item", "name", "inode", "dev", "mode", "ouid", "ogid", "rdev")
_WORKING_FOLDER = (b"", b"ffffff9c", b"ffffffffffffff9c", b"AT_FDCWD")
_QUOTE = ord('"')
_HEX = re.compile(rb"[0-9a-fA-F]{1,16}")
_LONGEST_WORD = 16


class Call(NamedTuple):
    """What is known of a system call by its name."""

    name: str
    architecture: str
    is_rename: bool
    is_delete: bool
    is_truncating: bool
    is_creating: bool
    is_executing: bool
    is_attributes: bool
    has_handle: bool
    flags_in: str


class Paths(NamedTuple):
    """The PATH records of plain events."""

    events: Positions
    names: tuple[Positions, Positions]
    roles: Positions
    owners: tuple[Positions, Positions]


def call(architecture: bytes, number: bytes) -> Call:
    """Return what a system call does, by architecture and number as the log writes them."""
    code = architecture.decode("latin-1")
    name = syscall_name(code, number.decode("latin-1"))
    return Call(
        name,
        ARCHITECTURES.get(code, code),
        name in audit_event.RENAMES,
        name in audit_event.DELETES,
        name in audit_event.TRUNCATES or name == "creat",
        name in audit_event.CREATES,
        name in audit_event.EXECUTES,
        bool(audit_event.ATTRIBUTES.match(name)),
        "at" in name.removeprefix("rename") and name not in {"creat", "truncate"},
        audit_event.OPEN_ARGUMENT.get(name, ""),
    )


def distinct(columns: Columns, starts: Positions, stops: Positions) -> tuple[list[bytes], Positions]:
    """Return the different texts of at most 16 bytes, and which of them each is."""
    lengths = stops - starts
    one = masked(columns.found.at(starts), lengths)
    two = masked(columns.found.at(starts + 8), np.maximum(lengths - 8, 0))
    if not two.any():
        if len(one) and (one == one[0]).all():
            return [int(one[0]).to_bytes(8, "little").rstrip(b"\0")], np.zeros(len(one), dtype=np.int64)
        words, which = np.unique(one, return_inverse=True)
        return [int(value).to_bytes(8, "little").rstrip(b"\0") for value in words], which
    pairs, which = np.unique(np.stack([one, two], axis=1), axis=0, return_inverse=True)
    return [pair.tobytes().rstrip(b"\0") for pair in pairs], which.reshape(-1)


def add_arguments(columns: Columns, these: Lines, groups: Groups, bases: Positions) -> None:
    """Hand on the arguments of programs that are started."""
    kinds = these.kinds[groups.lines]
    of_entry = np.repeat(np.arange(columns.events), groups.counts)
    chosen = np.flatnonzero(columns.is_plain[of_entry] & (kinds == EXECVE))
    line = groups.lines[chosen]
    columns.put("arguments", of_entry[chosen], these.ids[1][line] + len("): argc="), bases[line])


def add_records(columns: Columns, these: Lines, groups: Groups, bases: Positions, wanted: Mask) -> Paths:
    """Read what stands beside the system calls of some events: working folder, title, and the paths, which are returned."""
    kinds = these.kinds[groups.lines]
    of_entry = np.repeat(np.arange(columns.events), groups.counts)
    mine = (columns.is_plain & wanted)[of_entry]
    chosen = np.flatnonzero(mine & (kinds == CWD))
    events, line = of_entry[chosen], groups.lines[chosen]
    tokens = Tokens(columns.found, these.blanks(columns.found, line), bases[line], 2)
    start, stop, is_other = tokens.named(0, "cwd")
    columns.give_up(events, is_other | tokens.is_there(1))
    columns.give_up(events, (stop > start) & (columns.found.data[start] != _QUOTE))
    columns.put("cwd", events, *unquoted(columns, events, start, stop, bases[line]))
    chosen = np.flatnonzero(mine & (kinds == PATH))
    return _paths(columns, these, of_entry[chosen], groups.lines[chosen], bases)


def add_titles(
    columns: Columns, these: Lines, groups: Groups, bases: Positions, asked: Mask
) -> tuple[Titles, Positions]:
    """Read the titles of some events; return them and their events."""
    kinds = these.kinds[groups.lines]
    of_entry = np.repeat(np.arange(columns.events), groups.counts)
    chosen = np.flatnonzero((columns.is_plain & asked)[of_entry] & (kinds == PROCTITLE))
    events, line = of_entry[chosen], groups.lines[chosen]
    tokens = Tokens(columns.found, these.blanks(columns.found, line), bases[line], 2)
    start, stop, is_other = tokens.named(0, "proctitle")
    titles = decode(columns.found, start, stop)
    columns.give_up(events, is_other | tokens.is_there(1) | ~titles.is_text)
    which = np.full(columns.events, -1, dtype=np.int64)
    which[events] = np.where(titles.is_text, np.arange(len(events)), -1)
    texts = titles.found.strings(titles.starts, np.where(titles.is_text, titles.stops, titles.starts))
    columns.made["title"] = texts.cast(pa.string()), which
    return titles, events


def _paths(columns: Columns, these: Lines, events: Positions, line: Positions, bases: Positions) -> Paths:
    """Read PATH records: item=0 name="/x" inode=1 dev=fe:00 mode=0100644 ouid=0 ogid=0 rdev=00:00 [obj=...] nametype=NORMAL."""
    found = columns.found
    tokens = Tokens(found, these.blanks(found, line), bases[line], len(_PATH) + 2)
    places, wrong = {}, np.zeros(len(line), dtype=np.bool_)
    for number, name in enumerate(_PATH):
        start, stop, is_other = tokens.named(number, name)
        wrong |= is_other
        places[name] = (start, stop)
    _, _, has_no_label = tokens.named(len(_PATH), "obj")
    late, early = tokens.named(len(_PATH) + 1, "nametype"), tokens.named(len(_PATH), "nametype")
    wrong |= np.where(has_no_label, early[2], late[2])
    start, stop = np.where(has_no_label, early[0], late[0]), np.where(has_no_label, early[1], late[1])
    one = masked(found.at(start), np.clip(stop - start, 0, 8))
    roles = np.full(len(line), -1, dtype=np.int64)
    for role, name in enumerate(ROLES):
        roles[one == word(name.encode())] = role
    names = unquoted(columns, events, *places["name"], bases[line])
    # What is left without quotes is a word for nothing.
    names = names[0], np.where(found.data[places["name"][0]] == _QUOTE, names[1], names[0])
    # The owner is known where the fields up to the group are: they are read together or not at all.
    is_whole = places["ogid"][1] > places["ogid"][0]
    owners = (np.where(is_whole, places["ouid"][0], 0), np.where(is_whole, places["ouid"][1], 0))
    owner, is_wrong = _owner_names(columns, these, line, bases)
    is_named = owner[1] > owner[0]
    columns.give_up(events, wrong | (roles < 0) | is_wrong)
    return Paths(
        events,
        names,
        roles,
        (np.where(is_named, owner[0], owners[0]), np.where(is_named, owner[1], owners[1])),
    )


def _owner_names(
    columns: Columns, these: Lines, line: Positions, bases: Positions
) -> tuple[tuple[Positions, Positions], Mask]:
    """Return the owners' names behind the separator (OUID="bob"), and where what stands there is something else."""
    found, base, stop = columns.found, bases[line], these.stops[line]
    begin = np.minimum(base + 1, stop)
    end = np.minimum(found.blanks[np.searchsorted(found.blanks, base)], stop)
    sign = b'OUID="'
    is_named = (
        (masked(found.at(begin), len(sign)) == word(sign))
        & (end - begin > len(sign))
        & (found.data[end - 1] == _QUOTE)
    )
    is_cut = end >= stop
    start = np.where(is_named, begin + len(sign), 0)
    return (start, np.where(is_named, end - 1, 0)), (base < stop) & ~is_named & ~is_cut


class Files(NamedTuple):
    """What system calls did to files, one row for each call."""

    calls: list[Call]
    which: Positions
    flags: list[int | None]
    flag_of: Positions
    roles: Positions
    is_relative: Mask
    is_source_relative: Mask
    is_replacement: Mask
    paths: Positions


def files(
    columns: Columns, events: Positions, named: tuple[list[Call], Positions], places: Places, paths: Paths
) -> Files:
    """Find the file each call acted upon and what it did; hand on names and owners.

    Args:
        columns: take the texts.
        events: the events of the calls.
        named: the different calls, and which of them each is.
        places: where the fields of the calls stand.
        paths: the PATH records of these events.
    """
    calls, which = named
    row_of = np.full(columns.events, -1, dtype=np.int64)
    row_of[events] = np.arange(len(events))
    is_mine = row_of[paths.events] >= 0
    row, index = row_of[paths.events[is_mine]], np.flatnonzero(is_mine)
    chosen = _objects(calls, which, row, index, paths)
    hold(columns, "path", events, chosen, paths.names)
    hold(columns, "owner", events, chosen, paths.owners)
    roles = np.append(paths.roles, -1)[chosen]
    flags, flag_of = _flags(columns, events, calls, which, places)
    source, is_replacement = _sources(columns, calls, which, row, index, paths, chosen)
    hold(columns, "source", events, source, paths.names)
    handle = _handles(columns, calls, which, places, roles == _CREATE)
    source_handle = _handles(columns, calls, which, places, np.zeros(len(events), dtype=np.bool_))
    counted = np.bincount(row, minlength=len(events))
    return Files(calls, which, flags, flag_of, roles, ~handle, ~source_handle, is_replacement, counted)


def hold(
    columns: Columns, name: str, events: Positions, chosen: Positions, places: tuple[Positions, Positions]
) -> None:
    """Hand on the texts of chosen records; -1 is none."""
    columns.put(name, events, *(np.append(place, 0)[chosen] for place in places))


def calls(columns: Columns, events: Positions, places: Places) -> tuple[list[Call], Positions]:
    """Return the different system calls, and which of them each is."""
    for name in ("arch", "syscall"):
        columns.give_up(events, places[name][1] - places[name][0] > _LONGEST_WORD)
    architectures, arch_of = distinct(columns, *places["arch"])
    numbers, number_of = distinct(columns, *places["syscall"])
    pairs, which = np.unique(arch_of * len(numbers) + number_of, return_inverse=True)
    return [
        call(architectures[pair // len(numbers)], numbers[pair % len(numbers)]) for pair in pairs.tolist()
    ], which


def _listed(calls: list[Call], which: Positions, name: str) -> Mask:
    found: Mask = np.array([getattr(one, name) for one in calls] or [False], dtype=np.bool_)[which]
    return found


def _objects(
    calls: list[Call], which: Positions, row: Positions, index: Positions, paths: Paths
) -> Positions:
    """Return for each call the path acted upon, -1 for none: the last that is not merely the folder of another."""
    chosen = np.full(len(which), -1, dtype=np.int64)
    role = paths.roles[index]
    # What else there is, when no path has a fitting role: the first that is no folder.
    fallback = role != _PARENT
    chosen[row[fallback][::-1]] = index[fallback][::-1]
    makes, deletes = (
        _listed(calls, which, "is_rename") | _listed(calls, which, "is_creating"),
        _listed(calls, which, "is_delete"),
    )
    fits = np.where(makes[row], role == _CREATE, np.where(deletes[row], role == _DELETE, role != _PARENT))
    fits &= paths.names[1][index] > paths.names[0][index]
    fitting, where = row[fits], index[fits]
    first = np.full(len(which), -1, dtype=np.int64)
    first[fitting[::-1]] = where[::-1]
    executes = _listed(calls, which, "is_executing")
    chosen[fitting] = where
    # Of a program that is started the first path is the program, the others are its loaders.
    return np.where(executes, first, chosen)


def _sources(
    columns: Columns,
    calls: list[Call],
    which: Positions,
    row: Positions,
    index: Positions,
    paths: Paths,
    chosen: Positions,
) -> tuple[Positions, Mask]:
    """Return for each rename the path before it (-1: none), and whether it replaced a file of the new name."""
    source = np.full(len(which), -1, dtype=np.int64)
    is_replacement = np.zeros(len(which), dtype=np.bool_)
    deleted = (paths.roles[index] == _DELETE) & _listed(calls, which, "is_rename")[row]
    row, index = row[deleted], index[deleted]
    source[row[::-1]] = index[::-1]
    starts, stops = paths.names
    raw = columns.found.raw
    for call_row, path in zip(row.tolist(), index.tolist(), strict=True):
        target = chosen[call_row]
        if target >= 0 and stops[path] - starts[path] == stops[target] - starts[target]:
            is_replacement[call_row] |= raw[starts[path] : stops[path]] == raw[starts[target] : stops[target]]
    source[chosen < 0] = -1
    return source, is_replacement


def _flags(
    columns: Columns, events: Positions, calls: list[Call], which: Positions, places: Places
) -> tuple[list[int | None], Positions]:
    """Return the different flags of calls that open files, None first, and which of them each call has."""
    flags: list[int | None] = [None]
    flag_of = np.zeros(len(which), dtype=np.int64)
    for number, one in enumerate(calls):
        rows = np.flatnonzero(which == number)
        if one.name == "openat2":
            columns.give_up(events[rows], np.ones(len(rows), dtype=np.bool_))
        elif one.name == "creat":
            flags.append(audit_event.O_WRONLY | audit_event.O_CREAT | audit_event.O_TRUNC)
            flag_of[rows] = len(flags) - 1
        elif one.flags_in:
            starts, stops = (place[rows] for place in places[one.flags_in])
            words, word_of = distinct(columns, starts, stops)
            is_number = np.array([not text or bool(_HEX.fullmatch(text)) for text in words], dtype=np.bool_)
            columns.give_up(events[rows], ~is_number[word_of] | (stops - starts > _LONGEST_WORD))
            flag_of[rows] = word_of + len(flags)
            flags += [int(text, 16) if _HEX.fullmatch(text) else None for text in words]
    return flags, flag_of


def _handles(columns: Columns, calls: list[Call], which: Positions, places: Places, is_target: Mask) -> Mask:
    """Tell which relative names belong to an open folder: then no record says which."""
    second = is_target & _listed(calls, which, "is_rename")
    start, stop = (
        np.where(second, late, early) for late, early in zip(places["a2"], places["a0"], strict=True)
    )
    one = masked(columns.found.at(start), np.clip(stop - start, 0, 8))
    two = masked(columns.found.at(start + 8), np.clip(stop - start - 8, 0, 8))
    is_free = np.zeros(len(which), dtype=np.bool_)
    for name in _WORKING_FOLDER:
        is_free |= (one == word(name[:8])) & (two == word(name[8:])) & (stop - start == len(name))
    handle: Mask = _listed(calls, which, "has_handle") & ~is_free
    return handle


def actions(files: Files) -> tuple[list[str], Positions, Mask]:
    """Return the words for what was done to files, which of them each call did, and whether it emptied or shortened its file."""
    words = ["", "FileRenamed", "FileDeleted", "FileModified", "FileCreated", "FileAttributesChanged"]
    calls, which = files.calls, files.which
    has_flags = np.array([value is not None for value in files.flags])[files.flag_of]
    access, makes, empties = (
        np.array([bool(value is not None and value & bits) for value in files.flags])[files.flag_of]
        for bits in (audit_event.O_ACCESS, audit_event.O_CREAT | audit_event.O_TRUNC, audit_event.O_TRUNC)
    )
    is_made = files.roles == _CREATE
    shortens = np.array([one.is_truncating and one.name != "creat" for one in calls] or [False])[which]
    done = np.select(
        [
            _listed(calls, which, "is_rename"),
            _listed(calls, which, "is_delete"),
            shortens,
            has_flags & (access | makes) & is_made,
            has_flags & (access | makes),
            has_flags,
            _listed(calls, which, "is_creating"),
            _listed(calls, which, "is_attributes"),
        ],
        [1, 2, 3, 4, 3, 0, 4, 5],
        0,
    )
    is_truncated = (_listed(calls, which, "is_truncating") | empties & access) & ~is_made
    has_path = files.roles >= 0
    return words, np.where(has_path, done, 0), is_truncated & has_path
