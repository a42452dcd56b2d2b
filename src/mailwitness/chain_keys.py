"""How acts of a chain belong together: the same actor, mailbox, session, object, and other ways of joining."""

from __future__ import annotations

import re
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailwitness.content.schemas import Chain

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_592_000, "y": 31_536_000}
UNLIMITED = "unlimited"
MICROSECONDS = 1_000_000


class Act(NamedTuple):
    """One candidate row, in the columns that joining and reporting need.

    ``time`` is in microseconds of 1970, UTC; ``messages`` holds the message ids of all items of the record.
    """

    time: int
    Actor: str = ""
    ActorType: str = ""
    Mailbox: str = ""
    SessionId: str = ""
    ClientIP: str = ""
    Host: str = ""
    ApplicationId: str = ""
    ObjectName: str = ""
    MessageId: str = ""
    Messages: tuple[str, ...] | list[str] | None = None
    FilePath: str = ""
    SettingAfter: str = ""
    Operation: str = ""
    Activity: str = ""
    exhibit: str = ""
    position: int = -1


class Keys(NamedTuple):
    """The keys of one act for one way of joining.

    A full address and a bare name are different keys that must meet, and two full addresses must not meet because
    their names are equal; so an act is filed under other keys than it is looked up by.
    """

    filed: tuple[str, ...]
    looked_up: tuple[str, ...]


_NOTHING = Keys((), ())
_ACCOUNTS = frozenset({"Actor", "Mailbox", "SettingAfter"})
# Columns of which an act can have several keys, or none that it says itself.
_SEVERAL = frozenset({"", "ObjectName", "MessageId", "FilePath"})
# Prefixes that no account from the evidence begins with: this control character is taken out of it.
ANY, SHORT = "\x1eany:", "\x1eshort:"
# Way of joining -> column, and how a report says it.
WAYS = {
    "object": ("ObjectName", "the same name of what was acted upon"),
    "message": ("MessageId", "the same message"),
    "session": ("SessionId", "the same session"),
    "file": ("FilePath", "the same file"),
    "actor": ("Actor", "the same actor"),
    "mailbox": ("Mailbox", "the same mailbox"),
    "application": ("ApplicationId", "the same application"),
    "address": ("ClientIP", "the same client address"),
    "host": ("Host", "the same computer"),
    "tenant": ("", "the same organisation"),
}
# Ways that many innocent pairs share: a match that rests on one is less sure.
WEAK = {"address", "host", "tenant", "application"}
# Names that Exchange gives an export job by itself: they say nothing about which job it is.
_DEFAULT_NAME = re.compile(r"mailbox(?:export|import|restore)?\d*")
_EXPORT_TAIL = re.compile(r"_(?:export|report|preview|purge)$")


def microseconds(text: str) -> int | None:
    """Return a time span such as ``30m`` or ``7d``; None for ``unlimited``.

    Raises:
        ContentError: it is no time span.
    """
    if text == UNLIMITED:
        return None
    match = re.fullmatch(r"(\d+)([smhdwMy])", text)
    if match is None:
        raise ContentError(f"{text!r} is no time span", remedy="Write 30m, 24h, 7d or unlimited.")
    return int(match.group(1)) * UNITS[match.group(2)] * MICROSECONDS


def column_of(chain: Chain, way: str, step: str) -> str:
    """Return the column that holds a way's value in a step; empty for the whole organisation.

    Raises:
        ContentError: the way is neither built in nor an alias, or the column cannot be joined by.
    """
    column = chain.correlation.aliases.get(way, {}).get(step) or WAYS.get(way, (None,))[0]
    if column is None or (column and column not in Act._fields):
        raise ContentError(
            f"{way!r} is no way of joining the step {step!r}",
            place=chain.name,
            remedy=f"Name one of {', '.join(WAYS)}, or an alias with a column for each step.",
        )
    return column


def words_of(way: str) -> str:
    """Return a way of joining in words; parts that hold together are joined by ``+``."""
    return " and ".join(WAYS[part][1] if part in WAYS else part.replace("_", " ") for part in way.split("+"))


def extractor(chain: Chain, way: str, step: str) -> Callable[[Act], Keys]:
    """Return the function that gives an act's keys for a way of joining in a step."""
    columns = [column_of(chain, part, step) for part in way.split("+")]
    if len(columns) == 1:
        return _by_column(columns[0])
    if not {*columns} & _SEVERAL:
        of = attrgetter(*columns)
        return lambda act: _known((*columns,), of(act))
    parts = [_by_column(column) for column in columns]
    return lambda act: _combined(part(act) for part in parts)


# The same few accounts and sessions come again and again.
@lru_cache(maxsize=1 << 16)
def _known(columns: tuple[str, ...], values: tuple[str, ...]) -> Keys:
    pairs = zip(columns, values, strict=True)
    return _combined(
        account(value) if column in _ACCOUNTS else _alone(value.lower()) for column, value in pairs
    )


def _combined(parts: Iterable[Keys]) -> Keys:
    """Return keys that hold only when all parts do; each filed form meets its looked-up form in the same place."""
    filed, looked_up = [""], [""]
    for part in parts:
        if not part.filed:
            return _NOTHING
        filed = [f"{left}\x1f{right}" for left in filed for right in part.filed]
        looked_up = [f"{left}\x1f{right}" for left in looked_up for right in part.looked_up]
    return Keys(tuple(filed), tuple(looked_up))


def _by_column(column: str) -> Callable[[Act], Keys]:
    if not column:
        return lambda _: Keys(("",), ("",))
    if column in _ACCOUNTS:
        return lambda act: account(getattr(act, column))
    if column == "ObjectName":
        return lambda act: _same(objects(act.ObjectName))
    if column == "MessageId":
        return lambda act: _same(_messages(act))
    if column == "FilePath":
        return lambda act: _same(files(act))
    return lambda act: _alone(getattr(act, column).lower())


def _same(values: Iterable[str]) -> Keys:
    kept = tuple(dict.fromkeys(value for value in values if value))
    return Keys(kept, kept)


def _alone(value: str) -> Keys:
    return Keys((value,), (value,)) if value else _NOTHING


# A few accounts do most of what a log holds.
@lru_cache(maxsize=1 << 16)
def account(name: str) -> Keys:
    r"""Return the keys of an account: ``eva@contoso.example`` meets ``eva``, ``CONTOSO\eva`` and ``.../Users/eva``."""
    text = name.strip().lower().replace("\x1e", "")
    if not text:
        return _NOTHING
    if "@" in text:
        short = text.split("@", 1)[0]
        return Keys((text, ANY + short), (text, SHORT + short))
    short = re.split(r"[\\/]", text)[-1]
    return Keys((SHORT + short,), (SHORT + short, ANY + short))


def objects(name: str) -> list[str]:
    r"""Return the names within an object's name: ``cfo\Q3`` is the job Q3 of cfo, ``case-42_Export`` belongs to case-42."""
    parts = [part.rsplit("/", 1)[-1] for part in name.strip().lower().split("\\")]
    plain = [_EXPORT_TAIL.sub("", part) for part in parts]
    return [part for part in plain if part and not _DEFAULT_NAME.fullmatch(part)]


def _messages(act: Act) -> list[str]:
    return [value.lower() for value in (act.MessageId, *(act.Messages or ()))]


def files(act: Act) -> list[str]:
    r"""Return the names of the files an act speaks of, without their folder: a share is a local path on its server."""
    return [re.split(r"[\\/]", path.strip().lower())[-1] for path in (act.FilePath, act.ObjectName)]
