"""The reader of Apple Mail's rule files: each rule of SyncedRules, UnsyncedRules, MessageRules and RulesActiveState a record."""

from __future__ import annotations

import datetime as dt
import math
import plistlib
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mailwitness.readers import mail_place
from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]  # Any: JSON values

_MAX_BYTES = 32 << 20
_MAX_DEPTH = 12
_MAX_VALUES = 100_000
_MAX_TEXT = 8192
_FALSE_WORDS = {"NO", "0", "FALSE", ""}
# Seconds between 1970 and the epoch of Apple's dates, 2001-01-01.
_APPLE_EPOCH = 978_307_200
# Beyond any calendar: a number like this is no time.
_LATEST_SECONDS = 1e11


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Yield the rules of a property list, XML or binary, as settings snapshots.

    A rule looks like ``{RuleName, RuleId, Active, AllCriteriaMustBeSatisfied, Criteria: [{Header, Qualifier, Expression}],
    Deletes, ShouldTransferMessage, MarkRead, Mailbox, ...}``; RulesActiveState maps rule ids to true or false.
    """
    size = path.stat().st_size
    if size > _MAX_BYTES:
        yield Damage(0, size, 1, "a property list of more than 32 MiB is no rule file")
        return
    raw = path.read_bytes()
    if b"<!ENTITY" in raw:
        # Entities that contain each other would grow without end.
        yield Damage(0, size, 1, "the property list defines entities")
        return
    try:
        content = _plain(plistlib.loads(raw), [_MAX_VALUES], _MAX_DEPTH)
    except Exception as error:  # noqa: BLE001 - plistlib lets many types through
        yield Damage(0, size, 1, f"the property list cannot be read ({type(error).__name__})")
        return
    place = {"SnapshotTime": mail_place.written(path), "Mailbox": _owner(name)}
    for rule in _rules(content):
        yield RawRecord(place | rule, 0, size, 1)


def _rules(content: object) -> Iterator[Record]:
    """Yield each rule of any of the four files."""
    if isinstance(content, dict) and isinstance(content.get("rules"), list):
        content = content["rules"]
    if isinstance(content, list):
        for i, item in enumerate(content):
            yield _rule(item if isinstance(item, dict) else {"Value": item}, i)
    elif isinstance(content, dict) and content and all(isinstance(value, bool) for value in content.values()):
        for identity, active in content.items():
            yield {
                "Kind": "MailRuleState",
                "Identity": identity,
                "Name": "",
                "Enabled": active,
                "Settings": {identity: active},
            }
    else:
        yield {
            "Kind": "MailRules",
            "Identity": "",
            "Name": "",
            "Enabled": None,
            "Settings": content if isinstance(content, dict) else {"Value": content},
        }


def _rule(rule: Record, place: int) -> Record:
    active = rule.get("Active", rule.get("IsActive"))
    changed = rule.get("TimeStamp")
    moment = (
        mail_place.from_epoch(int(changed) + _APPLE_EPOCH)
        if isinstance(changed, int | float) and abs(changed) < _LATEST_SECONDS
        else ""
    )
    return {
        "Kind": "MailRule",
        "Identity": str(rule.get("RuleId", place)),
        "Name": str(rule.get("RuleName", ""))[:_MAX_TEXT],
        "Enabled": None
        if active is None
        else str(active).upper() not in _FALSE_WORDS
        if not isinstance(active, bool)
        else active,
        "WhenChanged": moment,
        "Settings": rule,
    }


def _owner(name: str) -> str:
    """Return whose home the file is from."""
    match = re.search(r"(?:^|/)Users/([^/]+)/", name)
    return match[1].lower() if match else mail_place.of_path(PurePosixPath(name).as_posix())["Mailbox"]


def _plain(value: object, left: list[int], depth: int) -> object:
    """Return a property list value as JSON; what is too deep or too much is cut."""
    left[0] -= 1
    if left[0] < 0 or depth < 0:
        return None
    if isinstance(value, dict):
        return {str(key)[:_MAX_TEXT]: _plain(item, left, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, left, depth - 1) for item in value]
    return _scalar(value)


def _scalar(value: object) -> object:
    if isinstance(value, bool | int) and abs(int(value)) < 1 << 63:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        return value.isoformat() + "Z"
    return (value.hex() if isinstance(value, bytes) else str(value))[:_MAX_TEXT]
