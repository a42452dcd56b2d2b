"""Run the rules: every rule ends as found, clear, or not evaluated with its reason."""

from __future__ import annotations

import datetime as dt
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mailwitness import replay, survey
from mailwitness.activities import columns
from mailwitness.blind_rules import counts_nothing, why_not
from mailwitness.content.schemas import SEVERITIES, Rule
from mailwitness.errors import MailwitnessError, QueryTimeout
from mailwitness.kql import leading_filters, referenced_tables, uses_clock, watchlists_named
from mailwitness.models import Finding, RuleOutcome
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.needs import activities_asked
from mailwitness.row_flow import Flow, row_flow
from mailwitness.sentences import filled
from mailwitness.tables import identifier, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import duckdb

    from mailwitness.blind_rules import Evidence
    from mailwitness.kql import KqlEngine

# A rule that needs longer than this on the given data is reported, not waited for.
RULE_TIMEOUT_SECONDS = 600
_KEPT_ROWS = 50
# Fewer rules than these are sooner run on all acts than the acts that they ask for are gathered.
_WORTH_GATHERING = 3
# How the reason of a rule begins, of whose platform nothing was given.
UNHELD = "no exhibit holds records of "
_MAXIMUM_FINDINGS = 20_000
# Explanations and questions ask these; to a rule they would look empty, and the rule clear.
AFTER_RULES = frozenset({
    "Baselines", "CaseActs", "CaseFindings", "CaseSubjects", "CaseUsual", "CaseWindow", "FindingActs", "Findings",
})  # fmt: skip


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A rule ready to run: its SQL and the filters a row must pass to matter to it.

    Attributes:
        predicates: the leading filter of each mention of MailboxActivity, as SQL; empty when the rule always runs.
        asked: of each of these the activities of which its rows are, lower case; None when it does not say.
        flow: how rows that pass them come to the rule's end.
        open_sql: for a rule that asks for the present time: its SQL with an open clock, to be replayed.
        read: tables it names that are there.
        is_late: it reads a table that is still being computed.
    """

    rule: Rule
    sql: str
    predicates: tuple[str, ...] = ()
    asked: tuple[frozenset[str] | None, ...] = ()
    flow: Flow | None = None
    reason: str = ""
    open_sql: str = ""
    read: tuple[str, ...] = ()
    is_late: bool = False


def prepare(
    rule: Rule, engine: KqlEngine, evidence: Evidence, vocabulary: set[str], *, now: dt.datetime
) -> Prepared:
    """Translate a rule, or say why it cannot be evaluated on this evidence."""
    tables = referenced_tables(rule.query, engine.schema)
    later = sorted(tables & AFTER_RULES)
    lists = watchlists_named(rule.query) - evidence.watchlists
    if later:
        reason = f"{later[0]} is filled only after all rules have run, so no rule can ask it"
    elif lists:
        reason = f"no watchlist {min(lists)!r} was given"
    else:
        reason = why_not(rule, tables, evidence, vocabulary)
    if reason:
        return Prepared(rule=rule, sql="", reason=reason)
    try:
        sql = engine.to_sql(rule.query, now=now)
        query = taken_apart(rule.query)
        filters = query.filters if tables == {ACTIVITY} else ()
        predicates = [engine.predicate_sql(rule.query, ACTIVITY, text, now=now) for text in filters]
    except MailwitnessError as error:
        return Prepared(rule=rule, sql="", reason=str(error))
    is_late = bool(tables & evidence.coming)
    if query.uses_clock:
        read = tuple(sorted(tables & (evidence.tables | {ACTIVITY})))
        return Prepared(rule=rule, sql=sql, open_sql=engine.open_sql(rule.query), read=read, is_late=is_late)
    if not all(predicates):
        return Prepared(rule=rule, sql=sql, is_late=is_late)
    return Prepared(
        rule=rule,
        sql=sql,
        predicates=tuple(predicate for predicate in predicates if predicate),
        asked=query.asked if filters else (),
        flow=query.flow,
        is_late=is_late,
    )


class Query(NamedTuple):
    """What a rule's text tells by itself.

    Attributes:
        filters: the leading filter of each mention of MailboxActivity; empty when skipping the rule would not be safe.
        asked: of each of these the activities of which its rows are, lower case; None when it does not say.
        flow: how rows that pass them come to the rule's end.
        uses_clock: it asks for the present time.
    """

    filters: tuple[str, ...]
    asked: tuple[frozenset[str] | None, ...]
    flow: Flow
    uses_clock: bool


@lru_cache(maxsize=4096)
def taken_apart(kql: str) -> Query:
    """Take a rule apart; what was found is remembered, so that it can be done before the evidence is there."""
    leading = leading_filters(kql, ACTIVITY)
    filters = leading.filters if leading.complete and not counts_nothing(kql) else ()
    asked = tuple(activities_asked(text) for text in filters)
    return Query(filters, asked, row_flow(kql, ACTIVITY), uses_clock(kql))


# What a rule gave, with its findings.
Judged = tuple[RuleOutcome, list[Finding]]


class Candidates(msgspec.Struct, frozen=True):
    """Ids of the rules that may find something, and of those among them whose acts are few and have a table of their own."""

    alive: frozenset[str] = frozenset()
    few: frozenset[str] = frozenset()


def candidates(connection: duckdb.DuckDBPyConnection, prepared: Iterable[Prepared]) -> Candidates:
    """Find the rules of which a row passes each leading filter that their findings need.

    Equal filters are asked once, and those about acts that nobody did not at all.
    """
    fused = [item for item in prepared if item.predicates]
    filters = {sql: named for item in fused for sql, named in zip(item.predicates, item.asked, strict=True)}
    found = survey.survey(connection, filters, frozenset(column.name for column in columns()))
    alive = [item for item in fused if _may_find(item, found.passed)]
    few = [item for item in alive if survey.few(found, item.predicates)]
    asked = (sql for item in few for sql in item.predicates)
    if len(few) < _WORTH_GATHERING or not survey.gather(connection, asked):
        few = []
    return Candidates(frozenset(item.rule.id for item in alive), frozenset(item.rule.id for item in few))


def _may_find(item: Prepared, passed: set[str]) -> bool:
    """Tell whether rows can come to the end of a rule, of the filters that a row passes."""
    if item.flow is None or passed.isdisjoint(item.predicates):
        return False
    return item.flow.may_have_rows(lambda number: item.predicates[number] in passed)


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """Return rules in the order of a report: the most severe first."""
    return sorted(rules, key=lambda rule: (-SEVERITIES.index(rule.level()), rule.name))


def can_be_judged(item: Prepared, coming: frozenset[str]) -> bool:
    """Tell whether all acts are there that a rule asks for, while those of some activities are still to be computed."""
    if not coming:
        return True
    told = frozenset(activity.lower() for activity in coming)
    return bool(item.predicates) and all(named is not None and named.isdisjoint(told) for named in item.asked)


def detect(
    connection: duckdb.DuckDBPyConnection,
    prepared: list[Prepared],
    *,
    fused: bool = True,
    seen: Callable[[Finding], None] | None = None,
    proved: Callable[[], None] = lambda: None,
    threads: int = 1,
) -> Iterator[Judged]:
    """Run prepared rules, the most severe first, and yield each outcome with its findings, in the order of :func:`in_order`.

    Args:
        connection: the locked database.
        prepared: from :func:`prepare`.
        fused: skip rules of which no row passes a leading filter; the result is the same.
        seen: called with the very first finding.
        proved: returns when the tables are there that are still being computed.
        threads: rules that run at the same time: planning a query, most of the work, keeps one core busy.
    """
    by_id = {item.rule.id: item for item in prepared}
    ordered = [by_id[rule.id] for rule in in_order(item.rule for item in prepared)]
    chosen = candidates(connection, ordered) if fused else Candidates()
    runner = _Runner(connection, seen)

    def judge(item: Prepared) -> Judged:
        if item.reason:
            return _outcome(item.rule, "not_evaluated", item.reason, 0), []
        if fused and item.predicates and item.rule.id not in chosen.alive:
            return _outcome(item.rule, "clear", "", 0), []
        if item.is_late:
            proved()
        try:
            found = runner.run(_of_few(item) if item.rule.id in chosen.few else item)
        except MailwitnessError as error:
            return _outcome(item.rule, "not_evaluated", str(error), 0), []
        said = (
            f"replayed at every {item.rule.queryFrequency}: the rule asks for the present time"
            if item.open_sql
            else ""
        )
        return _outcome(item.rule, "found" if found else "clear", said, len(found)), found

    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="rules") as pool:
        # Those that wait for something come last, so that they do not keep a thread from those that need not.
        late = sorted(range(len(ordered)), key=lambda place: ordered[place].is_late)
        judged = {place: pool.submit(judge, ordered[place]) for place in late}
        yield from (judged[place].result() for place in range(len(ordered)))


def _of_few(item: Prepared) -> Prepared:
    """Return a rule that looks at the few acts that pass its filters, with the same result."""
    sql = item.sql.replace(f"FROM {identifier(ACTIVITY)}", f"FROM {survey.FEW}")
    return msgspec.structs.replace(item, sql=sql)


class _Runner:
    """Run rules from several threads, each with its own cursor, and tell the first finding once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, seen: Callable[[Finding], None] | None) -> None:
        self.connection = connection
        self.seen = seen
        self.own = threading.local()
        self.lock = threading.Lock()

    def run(self, item: Prepared) -> list[Finding]:
        if not hasattr(self.own, "cursor"):
            self.own.cursor = self.connection.cursor()
        found = run(self.own.cursor, item)
        with self.lock:
            if found and self.seen is not None:
                self.seen(found[0])
                self.seen = None
        return found


def _outcome(rule: Rule, outcome: str, reason: str, findings: int) -> RuleOutcome:
    return RuleOutcome(
        id=rule.id,
        name=rule.name,
        severity=rule.level(),
        outcome=outcome,
        reason=reason,
        findings=findings,
        techniques=techniques(rule),
    )


def techniques(rule: Rule) -> tuple[str, ...]:
    """Return the rule's technique ids of the newest ATT&CK version it names."""
    return tuple(rule.attack.v19 or rule.attack.v18 or rule.relevantTechniques)


def run(connection: duckdb.DuckDBPyConnection, prepared: Prepared) -> list[Finding]:
    """Run one rule.

    Raises:
        QueryTimeout: it took longer than allowed.
        MailwitnessError: the database refused it.
    """
    if prepared.open_sql:
        return _replayed(connection, prepared)
    found = execute(connection, prepared.sql, timeout_seconds=RULE_TIMEOUT_SECONDS, limit=_MAXIMUM_FINDINGS)
    # The product raises its alert only above the threshold.
    enough = len(found) > prepared.rule.triggerThreshold
    return [as_finding(prepared.rule, row) for row in found] if enough else []


def _replayed(connection: duckdb.DuckDBPyConnection, prepared: Prepared) -> list[Finding]:
    """Run a rule that asks for the present time at every tick of its schedule."""
    ends = perf_counter() + RULE_TIMEOUT_SECONDS
    found, count = replay.run(
        connection,
        prepared.rule,
        prepared.open_sql,
        prepared.read,
        lambda sql: execute(
            connection, sql, timeout_seconds=max(1.0, ends - perf_counter()), limit=_MAXIMUM_FINDINGS
        ),
        budget=lambda: ends - perf_counter(),
    )
    said = replay.note(prepared.rule, count)
    listed = [as_finding(prepared.rule, row) for row in found[:_MAXIMUM_FINDINGS]]
    return [msgspec.structs.replace(one, reasons=(*one.reasons, said)) for one in listed]


def execute(
    connection: duckdb.DuckDBPyConnection, sql: str, *, timeout_seconds: float, limit: int
) -> list[dict[str, Any]]:
    """Run translated SQL with a time limit and return at most ``limit`` rows.

    Raises:
        QueryTimeout: it took longer than ``timeout_seconds``.
        MailwitnessError: the database refused it, in one sentence.
    """
    import duckdb  # noqa: PLC0415

    timer = threading.Timer(timeout_seconds, connection.interrupt)
    timer.start()
    try:
        return rows(connection.execute(f"SELECT * FROM ({sql}) LIMIT {limit}"))
    except duckdb.InterruptException as error:
        message = f"it took longer than {timeout_seconds:g} seconds"
        raise QueryTimeout(message, remedy="Narrow its filters.") from error
    except duckdb.Error as error:
        message = f"the database refused it: {str(error).splitlines()[0][:300]}"
        raise MailwitnessError(message, remedy="Correct the query.") from error
    finally:
        timer.cancel()


def as_finding(rule: Rule, row: dict[str, Any]) -> Finding:  # Any: query cells
    """Make a finding of one result row."""
    severity = _severity(rule, row)
    title = rule.finding.title if rule.finding else rule.name
    return Finding(
        rule=rule.id,
        title=filled(title, row),
        severity=severity,
        confidence=str(row.get("Confidence") or rule.confidence).lower(),
        phase=str(row.get("Phase") or (rule.finding.phase if rule.finding else "clearing")),
        techniques=techniques(rule),
        time=_time(row, "TimeGenerated", "Timestamp", "FirstTime", "StartTime"),
        last_time=_time(row, "LastTime", "EndTime", "TimeGenerated", "Timestamp"),
        actor=_text(row, "Actor", "UserId", "AccountUpn", "AccountName", "Caller"),
        actor_type=_text(row, "ActorType"),
        mailbox=_text(row, "Mailbox", "MailboxOwnerUPN", "RecipientEmailAddress"),
        address=_text(row, "ClientIP", "IPAddress", "ClientIPAddress"),
        session=_text(row, "SessionId"),
        host=_text(row, "Host", "DeviceName", "Computer"),
        description=rule.description.strip(),
        reasons=_reasons(rule, row),
        evidence={key: value for key, value in row.items() if not _is_blank(value) and key != "_Rows"},
        rows=supporting_rows(row),
        count=int(row.get("Count") or 1),
    )


def _severity(rule: Rule, row: dict[str, Any]) -> str:
    stated = str(row.get("Severity") or "").lower()
    if stated in SEVERITIES:
        return stated
    # The product's own services do most of what intruders do; the actor tells them apart.
    if row.get("ActorType") == "System":
        return "informational"
    return rule.level()


def _reasons(rule: Rule, row: dict[str, Any]) -> tuple[str, ...]:
    stated = row.get("Reason") or row.get("Reasons")
    listed = [str(item) for item in stated] if isinstance(stated, list) else [str(stated)] if stated else []
    for value in rule.reasons.values():
        listed += [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return tuple(dict.fromkeys(reason.strip() for reason in listed if reason.strip()))


def _text(row: dict[str, Any], *names: str) -> str:
    return next((str(row[name]) for name in names if row.get(name)), "")


def _time(row: dict[str, Any], *names: str) -> dt.datetime | None:
    return next((row[name] for name in names if isinstance(row.get(name), dt.datetime)), None)


def supporting_rows(row: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the supporting rows: the proving one first, then those the rule collected, in the order of the evidence."""
    found: list[tuple[str, int]] = []
    if row.get("_Exhibit") and row.get("_Position") is not None:
        found.append((str(row["_Exhibit"]), int(row["_Position"])))
    listed = row.get("_Rows") or []
    if isinstance(listed, str):
        listed = json.loads(listed)
    values = [json.loads(item) if isinstance(item, str) else item for item in listed]
    places = [
        (str(value["e"]), int(value["p"]))
        for value in values
        if isinstance(value, dict) and value.get("e") and value.get("p") is not None
    ]
    # The database collects rows of one group from several threads, in whatever order they come.
    return tuple(dict.fromkeys([*found, *sorted(places)[:_KEPT_ROWS]]))


def _is_blank(value: Any) -> bool:  # noqa: ANN401 - a query cell
    return value is None or value in ("", [], {})
