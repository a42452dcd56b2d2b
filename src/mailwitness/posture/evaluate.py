"""Run the checks on a snapshot of settings: pass, fail, or not evaluated, each with what to do about it."""

from __future__ import annotations

import datetime as dt
import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import findings, tables
from mailwitness.content import loader
from mailwitness.errors import MailwitnessError
from mailwitness.posture.blind import Rules, sentence, shipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import duckdb

    from mailwitness.content.schemas import Check
    from mailwitness.kql import KqlEngine
    from mailwitness.posture.exceptions import Exemption, Void

JsonDict = dict[str, Any]  # Any: JSON values
PASS, FAIL, NOT_EVALUATED = "pass", "fail", "not evaluated"
TABLE = "SettingsSnapshot"
_SECONDS = 60.0
_MOST_ROWS = 100_000
# A fix is printed for so many things; the report lists the others.
FIXES_SHOWN = 20
_POWERSHELL = frozenset({"exchange", "m365", "windows"})
# PowerShell ends a quoted text at any of these (about_Quoting_Rules); doubled, each is itself.
_QUOTES = "'\u2018\u2019\u201a\u201b"
SEVERITIES = ("critical", "high", "medium", "low", "informational")


class Judged(msgspec.Struct, frozen=True):
    """One thing that fails, and what was found."""

    identity: str
    found: str


class Excepted(msgspec.Struct, frozen=True):
    """One thing that would fail but for an exception."""

    identity: str
    reason: str
    owner: str
    expires: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one check.

    Attributes:
        judged: how many things were judged.
        unknown: how many of them the snapshot says too little about.
        reason: why it was not evaluated, wholly or in part; empty otherwise.
        meaning: what a fail means for an investigation, with the rules and chains it costs.
    """

    check: str
    name: str
    platform: str
    severity: str
    mitigation: str
    techniques: list[str]
    outcome: str
    judged: int = 0
    unknown: int = 0
    reason: str = ""
    remedy: str = ""
    meaning: str = ""
    rules: list[str] = []
    chains: list[str] = []
    failing: list[Judged] = []
    excepted: list[Excepted] = []
    fix: list[str] = []
    verify: str = ""
    references: list[str] = []


def put(connection: duckdb.DuckDBPyConnection, rows: Iterable[JsonDict], work: Path) -> None:
    """Add rows to the settings of a case and keep of each setting what was seen last.

    Args:
        connection: holds SettingsSnapshot as view or table.
        rows: as ``host.snapshot`` gives them.
        work: folder for a temporary file.
    """
    path = work / "snapshot.jsonl"
    with path.open("wb") as handle:
        handle.writelines(msgspec.json.encode(row) + b"\n" for row in rows)
    live = (
        "SELECT CAST(SnapshotTime AS TIMESTAMP) AS TimeGenerated, Kind, Identity, Settings, '' AS _Exhibit, 0::BIGINT AS _Position "
        f"FROM read_json({tables.literal(str(path))}, format = 'newline_delimited', "
        "columns = {SnapshotTime: 'VARCHAR', Kind: 'VARCHAR', Identity: 'VARCHAR', Settings: 'JSON'})"
    )
    # Permissions share the identity of their mailbox: the user tells them apart.
    who = "coalesce(Settings ->> '$.User', Settings ->> '$.Trustee', '')"
    connection.execute(f"CREATE TABLE mw_settings AS SELECT * FROM {TABLE} UNION ALL BY NAME {live}")
    drop(connection)
    connection.execute(
        f"CREATE TABLE {TABLE} AS SELECT * REPLACE (coalesce(Mailbox, '') AS Mailbox, coalesce(Name, '') AS Name) FROM mw_settings "
        f"QUALIFY rank() OVER (PARTITION BY Kind, Identity, Mailbox, {who} ORDER BY TimeGenerated DESC NULLS LAST) = 1"
    )
    connection.execute("DROP TABLE mw_settings")


def drop(connection: duckdb.DuckDBPyConnection) -> None:
    """Take SettingsSnapshot away, be it the view of a case or a table of ours."""
    sql = f"SELECT table_type FROM information_schema.tables WHERE table_name = {tables.literal(TABLE)}"
    for (kind,) in connection.execute(sql).fetchall():
        connection.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {TABLE}")


class Bench:
    """The settings under judgement, and all that a check needs beside them."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        engine: KqlEngine,
        *,
        now: dt.datetime,
        unread: dict[str, str] | None = None,
        exemptions: Sequence[Exemption] = (),
        rules: Rules | None = None,
    ) -> None:
        self.connection = connection
        self.engine = engine
        self.now = now
        self.unread = unread or {}
        self.exemptions = exemptions
        self.rules = rules or shipped()
        self.kinds = {
            str(row[0]) for row in connection.execute(f"SELECT DISTINCT Kind FROM {TABLE}").fetchall()
        }

    def judge(self, check: Check) -> Result:
        """Return what comes of one check."""
        missing = [kind for kind in check.needs if kind not in self.kinds]
        if missing and "LinuxHost" in self.kinds and check.platform == "linux":
            return self._absent(check)
        if missing:
            reason = f"the snapshot holds no {', '.join(missing)}"
            return self._absent(check, reason=reason, remedy=how_to_get(missing))
        try:
            sql = self.engine.to_sql(check.query, now=self.now)
            found = findings.execute(self.connection, sql, timeout_seconds=_SECONDS, limit=_MOST_ROWS)
        except MailwitnessError as error:
            return self._result(check, NOT_EVALUATED, reason=str(error), remedy="Report this check.")
        return self._weigh(check, found)

    def _weigh(self, check: Check, found: list[JsonDict]) -> Result:
        bad = [Judged(str(row["Identity"]), str(row["Found"])) for row in found if row["Good"] is False]
        unknown = sum(row["Good"] is None for row in found)
        excepted = [(one, why) for one in bad if (why := self._exemption(check, one.identity))]
        failing = sorted(
            (one for one in bad if not self._exemption(check, one.identity)),
            key=lambda one: (one.identity, one.found),
        )
        unread = self._unread(check)
        seen: JsonDict = {
            "judged": len(found),
            "unknown": unknown,
            "excepted": [Excepted(one.identity, why.reason, why.owner, why.expires) for one, why in excepted],
        }
        if unread and (not failing or "HostFile" not in check.needs):
            return self._result(check, NOT_EVALUATED, reason=unread, remedy="Run it as root.", **seen)
        if failing:
            reason = unread or (f"{unknown} of {len(found)} say too little" if unknown else "")
            return self._result(check, FAIL, reason=reason, failing=failing, **seen)
        if not found:
            return self._absent(check)
        if unknown:
            reason = f"the snapshot says too little about {unknown} of {len(found)}"
            return self._result(check, NOT_EVALUATED, reason=reason, remedy=how_to_get(check.needs), **seen)
        return self._result(check, PASS, **seen)

    def _absent(
        self,
        check: Check,
        *,
        reason: str = "",
        remedy: str = "Where that is as it should be, say so in an exception",
    ) -> Result:
        """Return that there is nothing to judge; an exception can say that this is as it should be."""
        unread = self._unread(check)
        if unread:
            return self._result(check, NOT_EVALUATED, reason=unread, remedy="Run it as root.")
        why = self._exemption(check, "")
        excepted = [Excepted("", why.reason, why.owner, why.expires)] if why else []
        return self._result(
            check, NOT_EVALUATED, reason=reason or check.absent, remedy=remedy, excepted=excepted
        )

    def _exemption(self, check: Check, identity: str) -> Exemption | None:
        return next((one for one in self.exemptions if one.covers(check.id, identity)), None)

    def _unread(self, check: Check) -> str:
        hidden = [
            path
            for path in sorted(self.unread)
            if any(
                path == one or path.startswith(one + "/") or one.startswith(path + "/") for one in check.reads
            )
        ]
        more = f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""
        return f"{hidden[0]} cannot be read ({self.unread[hidden[0]]}){more}" if hidden else ""

    def _result(self, check: Check, outcome: str, **fields: Any) -> Result:  # noqa: ANN401 - the fields of Result
        blinded = self.rules.blinded(check.blind)
        failing = fields.get("failing", [])
        is_fail = outcome == FAIL
        return Result(
            check=check.id,
            name=check.name,
            platform=check.platform,
            severity=check.severity,
            mitigation=check.mitigation,
            techniques=check.attack.v19,
            outcome=outcome,
            meaning=sentence(check.meaning, check.blind, blinded) if is_fail else "",
            rules=list(blinded.rules) if is_fail else [],
            chains=list(blinded.chains) if is_fail else [],
            fix=fixes(check, failing) if is_fail else [],
            verify=check.verify if is_fail else "",
            references=check.references,
            **fields,
        )


def how_to_get(kinds: list[str]) -> str:
    """Return the command that puts these kinds into a snapshot."""
    known = loader.read_yaml(loader.CONTENT / "checks" / "_kinds.yaml")
    return "; ".join(dict.fromkeys(known[kind] for kind in kinds))


def quoted(identity: str, platform: str) -> str:
    """Return a name as one literal of the platform's shell, whatever an intruder put into it."""
    if platform not in _POWERSHELL:
        return shlex.quote(identity)
    return "'" + "".join(letter * 2 if letter in _QUOTES else letter for letter in identity) + "'"


def fixes(check: Check, failing: list[Judged]) -> list[str]:
    """Return the commands that mend what fails; one for each thing where the command names it."""
    lines = []
    for template in check.fix:
        if "{Identity}" not in template:
            lines.append(template)
            continue
        names = dict.fromkeys(quoted(one.identity, check.platform) for one in failing[:FIXES_SHOWN])
        lines += [template.replace("{Identity}", name) for name in names]
    return lines


def expired(void: Sequence[Void]) -> Result | None:
    """Return the result that reports exceptions which are no longer in force."""
    if not void:
        return None
    return Result(
        check="exceptions_are_current",
        name="Every exception from a check is current, and somebody answers for it",
        platform="linux",
        severity="medium",
        mitigation="M1047",
        techniques=[],
        outcome=FAIL,
        judged=len(void),
        meaning="What somebody once excused is taken for granted without anybody answering for it.",
        failing=[Judged(one.row, one.reason) for one in void],
        fix=["Renew the row with a new day, or take it out."],
        verify="Run `mailwitness posture` again.",
    )


def evaluate(bench: Bench, platforms: Sequence[str] = (), void: Sequence[Void] = ()) -> list[Result]:
    """Return the results of all checks of some platforms, what fails first, the worst of it first."""
    chosen = [check for _, check in loader.checks() if not platforms or check.platform in platforms]
    results = [bench.judge(check) for check in chosen]
    outdated = expired(void)
    order = (FAIL, NOT_EVALUATED, PASS)
    return sorted(
        [*results, *([outdated] if outdated else [])],
        key=lambda one: (order.index(one.outcome), SEVERITIES.index(one.severity), one.platform, one.check),
    )


def exit_code(results: Sequence[Result]) -> int:
    """Return 1 when something fails, 2 when something could not be evaluated, else 0.

    What is not there to be judged does not count where an exception says that it need not be there.
    """
    answered = [one for one in results if any(not excepted.identity for excepted in one.excepted)]
    outcomes = {one.outcome for one in results if one.outcome != NOT_EVALUATED or one not in answered}
    return 1 if FAIL in outcomes else 2 if NOT_EVALUATED in outcomes or not results else 0
