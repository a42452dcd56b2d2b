"""One act is told once: what two logs hold of it, and what a broad rule says beside a more telling one, is put together."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec

from mailwitness.content.schemas import SEVERITIES
from mailwitness.models import Finding
from mailwitness.needs import TABLE
from mailwitness.tables import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

    from mailwitness.models import RuleOutcome

# A cmdlet is written down where it was typed and where it ran; two clocks on one network seldom differ by more.
CLOCKS_DIFFER = dt.timedelta(seconds=60)
# Acts of one rule within that time that are compared with a further one; more would only serve somebody who floods a log.
_COMPARED = 200
_KEPT_ROWS = 50
_ROWS_IN_ONE_QUERY = 2000
_SID = re.compile(r"^S-1-\d+(-\d+)+$", re.IGNORECASE)

Row = tuple[str, int]


class _Act(msgspec.Struct):
    """Findings that speak of one act, and the logs that hold it."""

    members: list[Finding]
    logs: set[str]


def in_two_logs(connection: duckdb.DuckDBPyConnection, findings: list[Finding]) -> list[Finding]:
    """Put findings of one rule together when different logs tell of the same act.

    Two acts of one log are never put together, however near they are: a log writes an act down once.

    Args:
        connection: has MailboxActivity with SourceTable and RecordType.
        findings: of all rules.

    Returns:
        The findings in their order; the one that stays has all records and says which logs agree.
    """
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.rows and finding.time is not None:
            by_rule[finding.rule].append(finding)
    near = [listed for listed in by_rule.values() if len(listed) > 1]
    logs = _logs(connection, [one.rows[0] for listed in near for one in listed])
    stays: dict[int, Finding] = {}
    gone: set[int] = set()
    for listed in near:
        for act in _acts(listed, logs):
            if len(act.members) > 1:
                best = max(act.members, key=lambda one: (_level(one), len(one.evidence)))
                stays[id(best)] = _together(best, act)
                gone |= {id(one) for one in act.members if one is not best}
    return [stays.get(id(one), one) for one in findings if id(one) not in gone]


def _logs(connection: duckdb.DuckDBPyConnection, rows: list[Row]) -> dict[Row, str]:
    """Return the log of each record: its table and the kind of record in it."""
    found: dict[Row, str] = {}
    distinct = list(dict.fromkeys(rows))
    for start in range(0, len(distinct), _ROWS_IN_ONE_QUERY):
        listed = ", ".join(f"({literal(e)}, {p})" for e, p in distinct[start : start + _ROWS_IN_ONE_QUERY])
        sql = (
            f"SELECT _Exhibit, _Position, min(SourceTable || ' ' || RecordType) FROM {TABLE} "
            f"WHERE (_Exhibit, _Position) IN ({listed}) GROUP BY ALL"
        )
        found |= {(str(e), int(p)): str(log) for e, p, log in connection.execute(sql).fetchall()}
    return found


def _acts(listed: list[Finding], logs: dict[Row, str]) -> list[_Act]:
    acts: list[_Act] = []
    if len({logs.get(one.rows[0], "") for one in listed}) < 2:  # noqa: PLR2004 - two logs
        return acts
    for finding in sorted(listed, key=lambda one: (one.time or dt.datetime.max, one.rows)):  # noqa: DTZ901
        log = logs.get(finding.rows[0], "")
        for act in acts[: -_COMPARED - 1 : -1]:
            if log and log not in act.logs and _is_same(act.members[0], finding):
                act.members.append(finding)
                act.logs.add(log)
                break
        else:
            acts.append(_Act(members=[finding], logs={log}))
    return acts


def _is_same(one: Finding, other: Finding) -> bool:
    """Tell whether two findings can be about one act: near in time, and nothing both name differs."""
    if one.time is None or other.time is None or abs(other.time - one.time) > CLOCKS_DIFFER:
        return False
    pairs = list(zip(_named(one), _named(other), strict=True))
    return all(a == b or not a or not b for a, b in pairs) and any(a == b and a for a, b in pairs)


def _named(finding: Finding) -> tuple[str, str, str, str]:
    """Return account, mailbox, object and setting as both sides of a network write them."""
    account = "" if _SID.match(finding.actor) else _short(finding.actor)
    object_name, setting = (str(finding.evidence.get(name) or "") for name in ("ObjectName", "Setting"))
    return account, _short(finding.mailbox), object_name.lower(), setting.lower()


def _short(name: str) -> str:
    r"""Return the last part of ``CONTOSO\\eva``, ``contoso.example/Users/eva`` or ``eva@contoso.example``."""
    return re.split(r"[\\/]", name.lower())[-1].split("@", 1)[0]


def _together(best: Finding, act: _Act) -> Finding:
    rows = dict.fromkeys([*best.rows, *(row for one in act.members for row in one.rows)])
    said = f"{len(act.logs)} logs hold this act: {', '.join(sorted(act.logs))}"
    return msgspec.structs.replace(best, rows=tuple(rows)[:_KEPT_ROWS], reasons=(*best.reasons, said))


def told_once(
    findings: list[Finding], chained: list[Finding], covers: Mapping[str, Sequence[str]]
) -> tuple[list[Finding], list[Finding]]:
    """Tell what a broad rule found inside the more telling finding about the same record.

    Args:
        findings: of rules.
        chained: of chains, in the order of their matches; all of them stay.
        covers: id of a rule or chain -> ids of the rules that it makes superfluous.

    Returns:
        Both lists, in their order; nothing that is more severe or counts more than what covers it is taken away.
    """
    broad = {rule for listed in covers.values() for rule in listed}
    by_row: dict[Row, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.rule in broad and finding.rows:
            by_row[finding.rows[0]].append(finding)
    everything = [*chained, *sorted(findings, key=lambda one: -len(covers.get(one.rule, ())))]
    gone: set[int] = set()
    added: dict[int, list[Finding]] = defaultdict(list)
    for telling in everything:
        if id(telling) in gone:
            continue
        for finding in (one for row in telling.rows for one in by_row.get(row, ())):
            named = finding.rule in covers.get(telling.rule, ())
            if named and id(finding) not in gone and finding is not telling and _holds(telling, finding):
                gone.add(id(finding))
                added[id(telling)].append(finding)
    return (
        [_with(one, added[id(one)]) for one in findings if id(one) not in gone],
        [_with(one, added[id(one)]) for one in chained],
    )


def _holds(telling: Finding, broad: Finding) -> bool:
    """Tell whether nothing is lost when a broad finding is told inside a telling one."""
    whole = broad.count <= telling.count or set(broad.rows) <= set(telling.rows)
    return whole and _level(telling) >= _level(broad)


def _level(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)


def _with(telling: Finding, broad: list[Finding]) -> Finding:
    if not broad:
        return telling
    said = dict.fromkeys(f"told here and not again: {one.title}" for one in broad)
    techniques = dict.fromkeys([*telling.techniques, *(name for one in broad for name in one.techniques)])
    return msgspec.structs.replace(telling, reasons=(*telling.reasons, *said), techniques=tuple(techniques))


def counted(outcomes: Iterable[RuleOutcome], findings: list[Finding]) -> list[RuleOutcome]:
    """Return what each rule gave with the number of findings that are told, and why it is fewer."""
    left = Counter(finding.rule for finding in findings)
    return [_counted(outcome, left[outcome.id]) for outcome in outcomes]


def _counted(outcome: RuleOutcome, left: int) -> RuleOutcome:
    if outcome.findings == left:
        return outcome
    said = (
        f"{outcome.findings - left} of {outcome.findings} findings are told inside others about the same act"
    )
    reason = f"{outcome.reason}; {said}" if outcome.reason else said
    return msgspec.structs.replace(outcome, findings=left, reason=reason)
