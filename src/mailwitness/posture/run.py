"""One posture, from what was given to its results."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailwitness import tables
from mailwitness.content import loader, pack
from mailwitness.errors import ConfigError
from mailwitness.evidence.store import CaseFolder
from mailwitness.open_case import new_engine
from mailwitness.posture import exceptions, host
from mailwitness.posture.evaluate import TABLE, Bench, Result, evaluate, put

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    import duckdb

    from mailwitness.kql import KqlEngine

PLATFORMS = ("linux", "exchange", "m365", "google", "windows", "macos")
# Kinds by whose beginning a platform shows; Exchange's kinds are told apart below.
_PREFIXES = {
    "linux": ("LinuxHost",),
    "google": ("Google", "Gmail"),
    "windows": ("Windows",),
    "macos": ("Mac",),
}
_EXCHANGE = (
    "Mailbox",
    "OrganizationConfig",
    "AdminAuditLogConfig",
    "MailboxAuditBypassAssociation",
    "TransportService",
)


class Posture(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a posture.

    Attributes:
        place: what was looked at.
        unread: path -> why it could not be read.
        absent: platforms of which nothing was given; their checks were not run.
    """

    results: list[Result]
    place: str
    unread: dict[str, str]
    absent: list[str]


@cache
def engine() -> KqlEngine:
    """Return the engine of the shipped tables; what it translated once, it keeps for the next host."""
    return new_engine(pack.load())


def run(
    *, root: Path | None, case: Path | None, platforms: Sequence[str], exempt: Path | None, now: dt.datetime
) -> Posture:
    """Judge a host, the settings in a case, or both.

    Args:
        root: root of a Linux host; None leaves it out.
        case: folder of a case with settings; None leaves it out.
        platforms: judge these, whatever was given; empty judges those of which something was given.
        exempt: CSV of exceptions.
        now: the clock, aware UTC.

    Raises:
        ConfigError: a platform or the exceptions make no sense.
        NotACase: there is no case.
    """
    unknown = sorted(set(platforms) - set(PLATFORMS))
    if unknown:
        raise ConfigError(
            f"there is no platform {unknown[0]!r}",
            place="--platform",
            remedy=f"Write one of {', '.join(PLATFORMS)}.",
        )
    names = {check.id for _, check in loader.checks()}
    used, void = exceptions.read(exempt, names, now=now) if exempt else ([], [])
    rows, unread = host.snapshot(root, now=now) if root else ([], {})
    with tempfile.TemporaryDirectory(prefix="mailwitness-posture-") as temporary:
        work = Path(temporary)
        connection = tables.connect(memory="512MB", threads=2, temporary=work)
        folder = CaseFolder(case, create=False).tables if case else work / "tables"
        tables.TableStore(folder).create_views(connection)
        put(connection, rows, work)
        chosen = list(platforms) or present(connection)
        bench = Bench(connection, engine(), now=now, unread=unread, exemptions=used)
        results = evaluate(bench, chosen, void) if chosen else []
        connection.close()
    place = " and ".join(str(path) for path in (root, case) if path)
    return Posture(
        results=results, place=place, unread=unread, absent=[one for one in PLATFORMS if one not in chosen]
    )


def present(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the platforms that the settings are of."""
    kinds = [
        str(row[0])
        for row in connection.execute(f"SELECT DISTINCT Kind FROM {TABLE} ORDER BY Kind").fetchall()
    ]
    found = [name for name, prefixes in _PREFIXES.items() if any(kind.startswith(prefixes) for kind in kinds)]
    if set(kinds) & set(_EXCHANGE):
        # Only the service has a default set of audited actions, and names of its own directory in its objects.
        cloud = connection.execute(
            f"SELECT bool_or(Settings ->> '$.DefaultAuditSet' IS NOT NULL OR contains(CAST(Settings AS VARCHAR), 'onmicrosoft.com') "
            f"OR contains(CAST(Settings AS VARCHAR), '.prod.outlook.com') OR Settings ->> '$.AuditDisabled' IS NOT NULL) FROM {TABLE}"
        ).fetchall()[0][0]
        found.append("m365" if cloud else "exchange")
    return [name for name in PLATFORMS if name in found]
