"""Versions of one rule or setting: what records and snapshots show, in order, and what none of them explains."""

from __future__ import annotations

import datetime as dt
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.proof import members
from mailwitness.proof.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailwitness.content.schemas import SettingFamily

JsonDict = dict[str, Any]  # Any: JSON values
Group = tuple[str, str, str]

# A ManageSieve session ends soon after it wrote the script; clocks of file systems and logs differ by about a second.
_SESSION = dt.timedelta(hours=1)
_TICK = dt.timedelta(seconds=2)


class Seen(msgspec.Struct, frozen=True):
    """One row of ``seen_settings``: a record of a change, or an object of a snapshot.

    Attributes:
        time: of the record, or when the snapshot was taken; naive UTC.
        saved: when the file or object was last changed, as it says itself.
        is_whole: a record that something of the kind changed, whatever it was.
    """

    kind: str
    host: str
    mailbox: str
    name: str
    state: str
    definition: JsonDict
    traits: str
    by: str
    plain: str
    source: str
    time: dt.datetime
    saved: dt.datetime | None
    basis: str
    is_whole: bool
    exhibit: str
    position: int

    def group(self) -> Group:
        """Return what one snapshot lists together."""
        return (self.kind, self.host, self.mailbox)


class Listing(msgspec.Struct, frozen=True):
    """A time at which somebody looked at all rules of a mailbox or organisation."""

    time: dt.datetime
    exhibit: str
    position: int


class Version(msgspec.Struct):
    """One version; its end is set when the next one is known."""

    seen: Seen
    start: dt.datetime
    state: str
    reading: Reading
    does: str
    definition: JsonDict
    traits: str = ""
    by: str = ""
    origin: str = "record"
    basis: str = ""
    reason: str = ""
    end: dt.datetime | None = None
    # When a snapshot last showed it.
    shown: dt.datetime | None = None


class Timeline:
    """Builds the versions of one rule or setting, given its rows in the order of their times."""

    def __init__(
        self,
        family: SettingFamily,
        read: Callable[[Seen, JsonDict], Reading],
        listings: Sequence[Listing],
        nameless: Sequence[Seen],
    ) -> None:
        """Take what the rows mean.

        Args:
            family: of the rows.
            read: says what a definition does.
            listings: of the mailbox or organisation, in order; empty when no listing has all of it.
            nameless: records that say that something of the kind changed and not what.
        """
        self._family = family
        self._read = read
        self._listings = listings
        self._nameless = nameless
        self._versions: list[Version] = []
        # Times of records since the last snapshot that showed the setting.
        self._records: list[dt.datetime] = []

    def build(self, rows: Iterable[Seen]) -> list[Version]:
        """Return the versions in order, each with its end."""
        waiting = list(self._listings)
        for row in rows:
            while waiting and waiting[0].time < row.time:
                self._not_listed(waiting.pop(0))
            if row.source == "record":
                self._record(row)
            else:
                self._snapshot(row)
                waiting = [listing for listing in waiting if listing.time > row.time]
        for listing in waiting:
            self._not_listed(listing)
        for one, after in zip(self._versions, self._versions[1:], strict=False):
            one.end = after.start
        return self._versions

    def _current(self) -> Version | None:
        return self._versions[-1] if self._versions else None

    def _record(self, row: Seen) -> None:
        current = self._current()
        definition = row.definition
        if self._family.is_merged and current is not None and current.state != "removed":
            definition = {**current.definition, **definition}
        reading = self._read(row, definition)
        is_whole = row.state == "present" or (current is not None and current.state in {"present", "changed"})
        does = "" if row.state == "removed" else reading.does(is_whole=is_whole)
        self._records.append(row.time)
        if current is not None and _again(current, row, does):
            return
        self._versions.append(
            Version(
                row, row.time, row.state, reading, does, definition, row.traits, row.by, "record", row.basis
            )
        )

    def _snapshot(self, row: Seen) -> None:
        reading = self._read(row, row.definition)
        does = reading.does(is_whole=True)
        current = self._current()
        if current is not None and _same(current, row.state, does):
            current.shown = row.time
            current.traits = current.traits or row.traits
            if not current.definition:
                current.definition = row.definition
            self._records = []
            return
        if current is not None and self._records and self._is_silent(current):
            # The record says that it was written, the snapshot what it says.
            current.reading, current.does, current.definition = reading, does, row.definition
            current.shown, current.traits = row.time, row.traits
            current.reason = f"What it says is from {_snapshot_of(row.time, row.basis)} ({row.exhibit})."
        else:
            self._versions.append(self._changed(row, reading, does))
        self._records = []

    def _is_silent(self, current: Version) -> bool:
        """Tell whether the newest record says that something changed and not what."""
        if current.origin != "record" or current.state == "removed":
            return False
        return not current.does or (
            self._family.is_merged and members.is_silent(current.seen.definition, self._family)
        )

    def _changed(self, row: Seen, reading: Reading, does: str) -> Version:
        """Return a version that no record of its own explains."""
        before = self._before(row)
        start = row.saved if row.saved is not None and row.saved <= row.time else row.time
        if before is not None and start <= before:
            start = row.time
        version = Version(
            row, self._not_before(start), row.state, reading, does, row.definition, row.traits, shown=row.time
        )
        version.origin, version.basis = "snapshot", row.basis if start == row.time else "saved"
        told = self._told(row, before)
        if told is not None:
            version.by, version.origin, version.basis, version.start = (
                told.by,
                "record",
                told.basis,
                self._not_before(min(told.time, row.time)),
            )
            version.reason = (
                f"{told.plain or 'A record says that something of the kind changed'}; what it says is from "
                f"{_snapshot_of(row.time, row.basis)} ({row.exhibit})."
            )
        elif before is not None and not self._records:
            version.origin = "unexplained"
            version.reason = self._why(row, before)
        return version

    def _not_before(self, start: dt.datetime) -> dt.datetime:
        current = self._current()
        return start if current is None else max(start, current.start)

    def _before(self, row: Seen) -> dt.datetime | None:
        """Return when it was looked at before."""
        earlier = [listing.time for listing in self._listings if listing.time < row.time]
        current = self._current()
        shown = [current.shown] if current is not None and current.shown is not None else []
        return max([*earlier, *(time for time in shown if time < row.time)], default=None)

    def _told(self, row: Seen, before: dt.datetime | None) -> Seen | None:
        """Return the record without a name that may have made what a snapshot shows."""
        if before is None and self._family.language == "value":
            # Nothing says that this one changed when the file was written.
            return None
        if row.saved is not None:
            near = [one for one in self._nameless if row.saved <= one.time <= row.saved + _SESSION]
            return near[0] if near else None
        near = [
            one for one in self._nameless if one.time <= row.time and (before is None or one.time > before)
        ]
        return near[-1] if near else None

    def _why(self, row: Seen, before: dt.datetime) -> str:
        current = self._current()
        earlier, later = _snapshot_of(before, row.basis), _snapshot_of(row.time, row.basis)
        if current is None or current.state == "removed":
            return f"It is in {later}, not in {earlier.removeprefix('the snapshot of ')}, and no record says who made it."
        was = current.does or current.state
        return f"{later.capitalize()} differs from {earlier.removeprefix('the snapshot of ')} ({was[:200]}), and no record says who changed it."

    def _not_listed(self, listing: Listing) -> None:
        """A listing of everything lacks it."""
        current = self._current()
        if current is None or current.state == "removed" or current.start > listing.time:
            return
        if current.seen.is_whole or (current.shown is None and not current.seen.name):
            return
        earlier = (
            f"in the snapshot of {_day(current.shown)}"
            if current.shown is not None
            else f"made at {_day(current.start)} as a record says"
        )
        version = Version(current.seen, listing.time, "removed", Reading(), "", {})
        version.origin, version.basis = "unexplained", "snapshot"
        version.seen = msgspec.structs.replace(
            current.seen, exhibit=listing.exhibit, position=listing.position
        )
        version.reason = (
            f"It is {earlier}, not in the one of {_day(listing.time)}, and no record says who removed it."
            if current.shown is not None
            else f"It was {earlier}, the snapshot of {_day(listing.time)} does not have it, and no record says who removed it: "
            "it is hidden from the listing, or gone."
        )
        self._records = []
        self._versions.append(version)


def _again(current: Version, row: Seen, does: str) -> bool:
    """Tell whether two logs told of the same act."""
    is_near = row.time - current.start <= _TICK
    same = (current.state, current.by, current.does) == (row.state, row.by, does)
    return is_near and same and current.origin == "record"


def _same(current: Version, state: str, does: str) -> bool:
    """Tell whether a snapshot shows what is known already; another order of words or case is no change."""
    is_on = {"present": "on", "changed": "on"}
    return is_on.get(current.state, current.state) == is_on.get(state, state) and (
        current.does.casefold() == does.casefold()
    )


def _snapshot_of(time: dt.datetime, basis: str) -> str:
    words = {"folder name": ", by the name of its folder", "saved": ", by its file's time"}.get(basis, "")
    return f"the snapshot of {_day(time)}{words}"


def _day(time: dt.datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def build(
    rows: Iterable[Seen],
    families: dict[str, SettingFamily],
    listings: dict[Group, list[Listing]],
    nameless: dict[Group, list[Seen]],
    read: Callable[[Seen, JsonDict], Reading],
) -> Iterator[Version]:
    """Yield the versions of all rules and settings.

    Args:
        rows: in the order of kind, host, mailbox, name (case folded) and time.
        families: by kind.
        listings: by kind, host and mailbox.
        nameless: by kind, host and mailbox.
        read: says what a definition does.
    """
    for key, held in groupby(rows, key=lambda row: (*row.group(), row.name.casefold())):
        group = key[:3]
        timeline = Timeline(families[group[0]], read, listings.get(group, ()), nameless.get(group, ()))
        yield from timeline.build(held)
