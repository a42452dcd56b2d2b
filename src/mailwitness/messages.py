"""What a person asks of the message ledger of a case."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness import completion, findings, pipeline, tables
from mailwitness.content import pack
from mailwitness.errors import ConfigError
from mailwitness.evidence.store import CaseFolder
from mailwitness.interactive import print_first
from mailwitness.open_case import open_case
from mailwitness.proof import recoverability
from mailwitness.proof.ledger import TABLE
from mailwitness.proof.settings import TABLE as HISTORY
from mailwitness.verification import read_report

if TYPE_CHECKING:
    from mailwitness.pipeline import Settings

_TIMEOUT_SECONDS = 600
_CLEAR = 0
_GONE = "Verdict NOT IN ('present', 'unknown')"
# What fits a terminal; JSON and CSV have every column.
_OWNER = "coalesce(nullif(Mailbox, ''), Host)"
_VERSION = (
    "TimeGenerated AS FromTime, EndTime AS ToTime, "
    "concat(Kind, ' ', Name, "
    f"CASE WHEN {_OWNER} <> '' THEN ' of ' || {_OWNER} END, CASE WHEN Traits <> '' THEN ' (' || Traits || ')' END) AS Setting, "
    "concat_ws(': ', CASE WHEN State IN ('removed', 'disabled') THEN State END, nullif(Does, '')) AS Does, "
    "concat_ws('; ', nullif(ChangedBy, ''), CASE WHEN Origin <> 'record' THEN Origin END, nullif(Reason, '')) AS By, "
    "concat_ws('; ', CAST(Hit AS VARCHAR) || ' of ' || Seen, CASE WHEN Possible > 0 THEN Possible || ' more possible' END, "
    "CASE WHEN NotJudged <> '' THEN 'not judged: ' || NotJudged END) AS Messages"
)
_SAVED = (
    "coalesce(r.State, '') AS State, r.Until AS CanBeSavedUntil, coalesce(r.IsExact, false) AS IsUntilExact"
)
_SHOWN = "Mailbox, Verdict, Subject, MessageId, KeyStrength, LastSeen, ReadBy, RemovedAt, RemovedBy, CanBeSavedUntil, State, Reason"


def ledger(case: Path, *, mailbox: str, gone: bool, form: str, limit: int) -> int:
    """Print the ledger of a case; compute it first where the case does not have it.

    Raises:
        MailwitnessError: the case is none, or an original is gone or changed.
    """
    folder = CaseFolder(case, create=False)
    moment = dt.datetime.fromisoformat(read_report(folder)["evaluated"]["now"])
    settings = pipeline.Settings(now=moment)
    _ensure(folder, settings, {TABLE, recoverability.TABLE})
    where = [_GONE] if gone else []
    if mailbox:
        name = tables.literal(mailbox.lower())
        where.append(f"(Mailbox = {name} OR split_part(Mailbox, '@', 1) = {name})")
    columns = _SHOWN if form == "table" else "*"
    chosen = f"SELECT * EXCLUDE (_Salvaged) FROM {TABLE}{' WHERE ' + ' AND '.join(where) if where else ''}"
    sql = (
        f"SELECT {columns} FROM (SELECT l.*, {_SAVED} FROM ({chosen}) AS l LEFT JOIN {recoverability.TABLE} AS r "
        "ON l.Mailbox = r.Mailbox AND l.MessageKey = r.MessageKey ORDER BY Mailbox, FirstSeen, MessageKey)"
    )
    return _show(folder, settings, sql, form, limit)


def setting_history(case: Path, *, mailbox: str, form: str, limit: int) -> int:
    """Print the versions of rules and settings of a case; compute them first where the case does not have them.

    Raises:
        MailwitnessError: the case is none, or an original is gone or changed.
    """
    folder = CaseFolder(case, create=False)
    moment = dt.datetime.fromisoformat(read_report(folder)["evaluated"]["now"])
    settings = pipeline.Settings(now=moment)
    _ensure(folder, settings, {HISTORY})
    name = tables.literal(mailbox.lower())
    where = f" WHERE Mailbox IN ({name}, '') OR split_part(Mailbox, '@', 1) = {name}" if mailbox else ""
    columns = _VERSION if form == "table" else "* EXCLUDE (_Salvaged)"
    sql = f"SELECT {columns} FROM {HISTORY}{where} ORDER BY Mailbox, Kind, Name, TimeGenerated, _Exhibit, _Position"
    return _show(folder, settings, sql, form, limit)


def _ensure(folder: CaseFolder, settings: Settings, wanted: set[str]) -> None:
    """Compute the tables of the proof where the case does not have them."""
    if wanted <= tables.TableStore(folder.tables).tables():
        return
    with tempfile.TemporaryDirectory(prefix="mailwitness-") as temporary:
        build(folder, settings, Path(temporary))


def _show(folder: CaseFolder, settings: Settings, sql: str, form: str, limit: int) -> int:
    # Tables of the proof are stored whole: nothing has to be completed for them.
    with completion.opened(folder, "", settings) as (connection, _):
        rows = findings.execute(connection, sql, timeout_seconds=_TIMEOUT_SECONDS, limit=limit + 1)
    print_first(rows, form, limit)
    return _CLEAR


def build(folder: CaseFolder, settings: Settings, work: Path) -> None:
    """Compute the ledger of a case and store it there.

    Raises:
        ConfigError: the case holds no exhibit.
        MailwitnessError: an original is gone or changed, and values are needed that a first pass left out.
    """
    kept = completion.exhibits(folder)
    if not kept:
        raise ConfigError(
            "the case holds no exhibit", place=str(folder.path), remedy="Investigate evidence first."
        )
    # The acts of all parsers need every value of their tables.
    completion.complete(folder, "MailboxActivity", settings, work)
    with folder.lock():
        opened = open_case(
            folder.path,
            pack.load(),
            now=settings.now,
            work=work,
            connection=tables.connect(
                memory=settings.memory_limit(),
                threads=settings.thread_count(),
                temporary=work,
                maps=False,
            ),
            given=pipeline.given_of(kept),
        )
        try:
            opened.proved()
        finally:
            opened.close()
