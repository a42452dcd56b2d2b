"""What one Windows event means only together with earlier ones: script parts, handles, and the clock of the host."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mailwitness.readers import windows_event, windows_plain
from mailwitness.readers.exchange_events import add_cmdlet
from mailwitness.readers.windows_event import Record, text

if TYPE_CHECKING:
    from collections.abc import Callable

# A script of the largest log that Windows keeps by default fits; older unfinished ones are given up.
_MOST_SCRIPTS = 256
_MOST_SCRIPT_CHARACTERS = 16 * 1024 * 1024
_MOST_HANDLES = 100_000
_MOST_WAITING = 10_000
# Clocks of hosts differ from UTC by multiples of a quarter of an hour.
_ZONE_SECONDS = 900
_MOST_ZONE_SECONDS = 15 * 3600
_WORDS_OF_CLOSED_SET = {4656, 4658, 4660, 4663}
_DELETED = 4660
# Knows the records that the database prepares itself.
PLAIN = windows_plain


class Preparer:
    """Bring the records of one input, in order, into the common shape."""

    def __init__(self) -> None:
        """Start before the first record."""
        self._scripts: OrderedDict[tuple[str, str], dict[int, str]] = OrderedDict()
        self._handles: OrderedDict[tuple[str, str, str], str] = OrderedDict()
        self._zones: dict[str, int] = {}
        # Tells this preparer of records before the given one that did not come here; and the number of the one that does.
        self.earlier: Callable[[int], None] | None = None
        self.number = 0
        # Events on handles among them, until a deletion asks for its handle.
        self._waiting: list[tuple[int, Record, Record, int]] = []

    def prepare(self, record: Record) -> Record | None:
        """Return the record in the common shape; None when it is no Windows event."""
        event = windows_event.canonical(record)
        if event is None or event.get("EventID") is None:
            return None
        return self.complete(event)

    def complete(self, event: Record) -> Record:
        """Add to an event in the common shape what other records and the provider's habits tell."""
        data = event["Data"]
        number = event["EventID"]
        if "UtcTime" in data and "sysmon" in event["Provider"].lower():
            self._keep_zone(event, text(data["UtcTime"]))
        elif event.pop("IsLocalTime", False):
            self._to_utc(event)
        if number in (4104, 4103) and event.get("Params") and not data:
            _name_values(event)
            data = event["Data"]
        if number == 4104:  # noqa: PLR2004 - named by the comment or the function around it
            self._join_script(event, data)
        elif number in _WORDS_OF_CLOSED_SET:
            self._follow_handle(event, data, number)
        add_cmdlet(event)
        return event

    # -- time ------------------------------------------------------------------------------------------------

    def _keep_zone(self, event: Record, utc: str) -> None:
        """Sysmon writes UTC itself: take it, and learn from it how far the host's other times are off."""
        stated = _seconds(event["Time"])
        exact = _seconds(utc)
        if exact is None:
            return
        if event.pop("IsLocalTime", False) and stated is not None:
            self._zones[event["Computer"].lower()] = _rounded(exact - stated)
        elif stated is not None and abs(_rounded(exact - stated)) >= _ZONE_SECONDS:
            self._zones[event["Computer"].lower()] = _rounded(exact - stated)
            event["TimeNote"] = "the record's own time is not UTC; UtcTime was taken"
        event["Time"] = utc

    def _to_utc(self, event: Record) -> None:
        stated = _seconds(event["Time"])
        if stated is None or _has_offset(event["Time"]):
            return
        zone = self._zones.get(event["Computer"].lower())
        received = event.get("ReceivedTime", "")
        if zone is None and received and received != event["Time"]:
            arrival = _seconds(received)
            zone = None if arrival is None else _rounded(arrival - stated)
        if zone is None:
            event["TimeNote"] = "local time of the host, taken as UTC"
            return
        event["TimeNote"] = f"local time, {zone // 60:+d} minutes to UTC"
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=stated + zone)
        event["Time"] = moment.isoformat().removesuffix("+00:00")

    # -- PowerShell --------------------------------------------------------------------------------------------

    def _join_script(self, event: Record, data: Record) -> None:
        """Put the whole script into the record that completes it."""
        part, total = _count(data.get("MessageNumber")), _count(data.get("MessageTotal"))
        piece = text(data.get("ScriptBlockText"))
        if total <= 1:
            event["Script"] = piece
            return
        event["ScriptPart"] = True
        key = (event["Computer"].lower(), text(data.get("ScriptBlockId")).lower())
        parts = self._scripts.setdefault(key, {})
        self._scripts.move_to_end(key)
        if sum(map(len, parts.values())) + len(piece) <= _MOST_SCRIPT_CHARACTERS:
            parts[part] = piece
        if all(number in parts for number in range(1, min(total, 100_000) + 1)):
            event["Script"] = "".join(parts[number] for number in range(1, total + 1))
            event["ScriptPart"] = False
            del self._scripts[key]
        elif len(self._scripts) > _MOST_SCRIPTS:
            self._scripts.popitem(last=False)

    # -- handles -------------------------------------------------------------------------------------------------

    def follow(self, number: int, computer: str, process: str, handle: str, name: str, kind: str) -> None:
        """Take note of an event on a handle (4656, 4658, 4663) that needs nothing else."""
        data = {"ProcessId": process, "HandleId": handle, "ObjectName": name, "ObjectType": kind}
        self._keep_handle({"Computer": computer}, data, number)

    def _follow_handle(self, event: Record, data: Record, number: int) -> None:
        """Give a deletion (4660, which has no name) the object that its handle stands for."""
        if self.earlier is not None and number != _DELETED and len(self._waiting) < _MOST_WAITING:
            self._waiting.append((self.number, {"Computer": event["Computer"]}, data, number))
            return
        self.settle(self.number)
        self._keep_handle(event, data, number)

    def settle(self, number: int) -> None:
        """Take note of all events on handles before a record."""
        if self.earlier is None:
            return
        for place, event, data, kind in self._waiting:
            self.earlier(place)
            self._keep_handle(event, data, kind)
        self._waiting.clear()
        self.earlier(number)

    def _keep_handle(self, event: Record, data: Record, number: int) -> None:
        key = (
            event["Computer"].lower(),
            text(data.get("ProcessId")).lower(),
            text(data.get("HandleId")).lower(),
        )
        if number in (4656, 4663):
            name = text(data.get("ObjectName"))
            if name and text(data.get("ObjectType")).lower() == "file":
                self._handles[key] = name
                self._handles.move_to_end(key)
                if len(self._handles) > _MOST_HANDLES:
                    self._handles.popitem(last=False)
            elif name:
                self._handles.pop(key, None)
        elif number == _DELETED:
            event["ObjectPath"] = self._handles.get(key, "")
        else:
            self._handles.pop(key, None)


def _name_values(event: Record) -> None:
    """Give the unnamed values of PowerShell events their names: an exporter may have dropped them."""
    names: tuple[str, ...] = ("MessageNumber", "MessageTotal", "ScriptBlockText", "ScriptBlockId", "Path")
    if event["EventID"] != 4104:  # noqa: PLR2004 - the event number
        names = ("ContextInfo", "UserData", "Payload")
    event["Data"] = dict(zip(names, event.pop("Params"), strict=False))


def _count(value: Any) -> int:  # noqa: ANN401 - a JSON value
    try:
        return int(text(value))
    except ValueError:
        return 1


def _rounded(seconds: float) -> int:
    zone = round(seconds / _ZONE_SECONDS) * _ZONE_SECONDS
    return zone if abs(zone) <= _MOST_ZONE_SECONDS else 0


def _has_offset(value: str) -> bool:
    return len(value) > 19 and (value[-6] in "+-" or value[-5] in "+-")  # noqa: PLR2004 - date and time without zone


def _seconds(value: str) -> float | None:
    """Return a time as seconds, a missing zone read as UTC; None when it cannot be read."""
    try:
        moment = dt.datetime.fromisoformat(value[:26].rstrip("Z") if not _has_offset(value) else value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
