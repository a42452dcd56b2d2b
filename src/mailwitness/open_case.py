"""An open case: its tables behind a locked connection, the engine, and what the evidence can show."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mailwitness import act_parts, activities, chain_acts, engines, families, late_acts, needs, tables
from mailwitness.blind_rules import Evidence
from mailwitness.content import pack
from mailwitness.findings import UNHELD
from mailwitness.kql import words
from mailwitness.needs import Needs
from mailwitness.proof import computing

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from mailwitness.kql import KqlEngine
    from mailwitness.late_acts import Later
    from mailwitness.proof.computing import Computing
    from mailwitness.proof.ledger import Given


# Baselines count these, and the same act in two logs is told by the last two, whatever the rules name.
ALWAYS_STORED = frozenset(
    {"Actor", "Mailbox", "ClientApp", "ClientIP", "Platform", "SourceTable", "RecordType"}
)

# Up to this size the tables of the proof are computed while rules run: both fit into the memory then.
_BESIDE_BYTES = 256 * 1024 * 1024


class OpenCase:
    """What every stage after loading works with; closing it releases the database.

    Attributes:
        connection: the database; has a view for every table, and MailboxActivity.
        engine: translates KQL, keeps its translations in the pack.
        knowledge: rules, parsers and all other content of this run.
        evidence: which tables and activities the case can show.
        vocabulary: all activities that any parser can yield.
        now: the clock of the run, aware UTC.
        work: folder for files of this run; it is removed at its end.
        held: activities of which there is an act.
        later: the acts that are computed when they are asked; None when MailboxActivity has all.
        coming: activities of which acts are still to be computed, see :meth:`complete`.
        proof: the tables of the proof on their way; None when there are none, or all are there.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        engine: KqlEngine,
        knowledge: pack.Pack,
        evidence: Evidence,
        *,
        now: dt.datetime,
        work: Path,
        held: set[str] | None = None,
        later: Later | None = None,
    ) -> None:
        self.connection = connection
        self.engine = engine
        self.knowledge = knowledge
        self.evidence = evidence
        self.vocabulary = activities.vocabulary(knowledge.parsers)
        self.now = now
        self.work = work
        self.held = held or set()
        self.later = later
        self.coming: frozenset[str] = frozenset()
        self.rest: Callable[[], None] | None = None
        self.proof: Computing | None = None

    def complete(self) -> None:
        """Compute the acts that are still to come: until then MailboxActivity shows the few of rare operations only."""
        if self.rest is not None:
            self.rest()
            self.rest, self.coming = None, frozenset()

    def proved(self) -> None:
        """Return when the tables of the proof are there."""
        if self.proof is not None:
            self.proof.wait()

    def shows(self, kql: str) -> bool:
        """Say whether MailboxActivity has all acts that a condition can mean."""
        return self._shows(needs.named_activities(kql, self.vocabulary))

    def _shows(self, named: set[str]) -> bool:
        return self.later is None or bool(named and named <= self.later.shown)

    def acts(self, kql: str, *, places: str = "") -> str:
        """Return the table that has all acts that a condition can mean, or the SELECT of them in brackets.

        ``places`` is the table of the records that matter (_Exhibit, _Position) among those of which the acts are
        only computed when they are asked; empty for all.
        """
        named = needs.named_activities(kql, self.vocabulary)
        if self.later is None or self._shows(named):
            return needs.TABLE
        late = (named or self.vocabulary) & self.later.activities
        if not late:
            return activities.COMPUTED
        return f"(SELECT * FROM {activities.COMPUTED} UNION ALL {self.later.sql(places=places, among=late)})"

    def keys(self, kql: str) -> str:
        """Return the SELECT of the places and keys of all acts that a condition can mean.

        Empty where it means acts that nobody can tell by an activity.
        """
        named = needs.named_activities(kql, self.vocabulary)
        if self.later is None or not named or self._shows(named):
            return ""
        return self.later.keys(among=named)

    def close(self) -> None:
        """Release the database; keep what was translated for the next run."""
        if self.proof is not None:
            self.proof.close()
        pack.save(self.knowledge, self.engine.cache)
        self.connection.close()


def new_engine(knowledge: pack.Pack) -> KqlEngine:
    """Return an engine that knows every table and keeps its translations in the pack."""
    return engines.new_engine(knowledge.sql)


def queries(knowledge: pack.Pack) -> list[str]:
    """Return every query that a run asks of MailboxActivity and the public tables."""
    return [
        *(rule.query for rule in knowledge.rules),
        *(item.query for item in knowledge.explanations),
        *chain_acts.queries(knowledge.chains),
    ]


def question_queries(knowledge: pack.Pack) -> list[str]:
    """Return the queries of the questions, which are asked of the cases."""
    return [question.query for question in knowledge.questions]


def questioned(knowledge: pack.Pack) -> set[str]:
    """Return the activities that questions name or need a record of."""
    vocabulary = activities.vocabulary(knowledge.parsers)
    named = [needs.named_activities(query, vocabulary) for query in question_queries(knowledge)]
    records = [set(question.needs.records) for question in knowledge.questions]
    return set().union(*named, *records)


def needed(knowledge: pack.Pack) -> Needs:
    """Return the activities that a run's queries name."""
    return needs.of_queries(queries(knowledge), activities.vocabulary(knowledge.parsers))


def early(knowledge: pack.Pack) -> Needs:
    """Return the activities that must be computed before the rules run.

    What fills audit logs (reads, sign-ins) and is only asked by chains and questions is left for when they ask: by
    then a run knows of which accounts and days.
    """
    vocabulary = activities.vocabulary(knowledge.parsers)
    bulk = activities.bulk(knowledge.parsers)
    asked = [*(rule.query for rule in knowledge.rules), *(item.query for item in knowledge.explanations)]
    asked += [
        query for query in chain_acts.queries(knowledge.chains) if not needs.is_of(query, bulk, vocabulary)
    ]
    return needs.of_queries(asked, vocabulary).plus(questioned(knowledge) - bulk)


def open_case(
    folder: Path,
    knowledge: pack.Pack,
    *,
    now: dt.datetime,
    work: Path,
    connection: duckdb.DuckDBPyConnection,
    given: list[Given] | None = None,
    in_parts: bool = False,
) -> OpenCase:
    """Open a case's tables and compute MailboxActivity for what the run's queries name.

    Args:
        folder: the case folder.
        knowledge: the content of the run.
        now: the clock of the run.
        work: folder for temporary files; MailboxActivity is stored there.
        connection: a database of our own, from ``tables.connect``; the open case closes it.
        given: the exhibits, when the tables of the proof are to be computed; None leaves them out.
        in_parts: of many acts compute only those of rare operations; the caller asks for the rest.
    """
    store = tables.TableStore(folder / "tables")
    store.create_views(connection)
    engine = new_engine(knowledge)
    present = store.tables()
    coming = computing.TABLES if given is not None else frozenset[str]()
    asked = _asked(knowledge, with_proof=given is not None)
    acts = _Acts(connection, engine, knowledge, store.rows(), asked, now=now)
    tables.lock(connection, [folder / "tables", work])
    told = families.absent(connection, pack.families(), knowledge.parsers, present | coming)
    found = evidence(knowledge, present | coming, told, coming=coming)
    opened = OpenCase(connection, engine, knowledge, found, now=now, work=work, later=acts.later)

    def tell() -> None:
        opened.held = acts.held()
        opened.evidence = shown(opened.evidence, told, opened.held)

    def rest() -> None:
        acts.complete(work / "activity.parquet")
        if given is not None:
            opened.proof = _proving(connection, store, work, present=present, given=given, now=now)
        tell()

    opened.rest, opened.coming = rest, acts.coming
    tell()
    if not (in_parts and opened.coming):
        opened.complete()
    return opened


class _Asked(NamedTuple):
    """What a run asks of MailboxActivity: at all, before any rule runs, what rules see, and columns."""

    needed: Needs
    early: Needs
    shown: set[str]
    named: set[str]


def _asked(knowledge: pack.Pack, *, with_proof: bool) -> _Asked:
    ruled, first = needed(knowledge), early(knowledge)
    left = activities.bulk(knowledge.parsers) - first.activities()
    queried = [*queries(knowledge), *question_queries(knowledge)]
    named = {word for query in queried for word in words(query)} | ALWAYS_STORED
    wanted = ruled.plus(questioned(knowledge))
    if with_proof:
        wanted, first = wanted.plus(computing.activities()), first.plus(computing.activities())
        named |= computing.columns()
    return _Asked(wanted, first, ruled.activities() - left, named)


class _Acts:
    """MailboxActivity on its way.

    Attributes:
        later: the acts that are computed when they are asked.
        coming: activities that acts can be which :meth:`complete` will compute.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        engine: KqlEngine,
        knowledge: pack.Pack,
        rows: dict[str, int],
        asked: _Asked,
        *,
        now: dt.datetime,
    ) -> None:
        """Compute the acts of rare operations."""
        self._counted = act_parts.Counted(connection, rows)
        parts = act_parts.parts(
            connection,
            engine,
            knowledge.parsers,
            self._counted,
            now=now,
            needed=asked.needed,
            early=asked.early,
        )
        self.later = late_acts.Later(
            connection, engine, knowledge.parsers, set(rows), now=now, needed=asked.needed, early=asked.early
        )
        self.later.shown = asked.shown
        self._stored = act_parts.Stored(
            connection, needed=asked.needed.activities(), shown=asked.shown, named=asked.named
        )
        with ThreadPoolExecutor(1, thread_name_prefix="rest") as pool:
            # What the other acts are is worked out while the database computes the few.
            rest = pool.submit(parts.rest) if parts.rest is not None else None
            self._stored.first(parts.first)
            self._rest = None if rest is None else rest.result()
        self.coming = frozenset[str]() if self._rest is None else self._rest.activities

    def complete(self, path: Path) -> None:
        """Compute the other acts into a file."""
        if self._rest is not None:
            self._stored.rest(self._rest, path)

    def held(self) -> set[str]:
        """Return the activities of which there is an act, as far as they were computed."""
        return self._stored.held() | self.later.held(self._counted.operations)


def _proving(
    connection: duckdb.DuckDBPyConnection,
    store: tables.TableStore,
    work: Path,
    *,
    present: set[str],
    given: list[Given],
    now: dt.datetime,
) -> Computing:
    """Begin with the tables of the proof; those of large evidence are waited for, because they need the memory."""
    is_large = sum(exhibit.size_bytes for exhibit in given) > _BESIDE_BYTES
    proof = computing.Computing(
        connection,
        computing.Basis(
            store=store.root,
            work=work,
            present=frozenset(present),
            exhibits=tuple(given),
            activity=activities.COMPUTED,
            now=now,
        ),
        at_once=not is_large,
    )
    if is_large:
        proof.wait()
    return proof


def evidence(
    knowledge: pack.Pack, present: set[str], told: families.Absent, *, coming: frozenset[str] = frozenset()
) -> Evidence:
    """Say what the case can show, as its tables tell; :func:`shown` adds what its acts tell.

    Args:
        knowledge: the content of the run.
        present: tables with rows, and those that are being computed.
        told: what the records of these tables cannot show.
        coming: tables that are being computed.
    """
    provided = {
        activity for parser in knowledge.parsers if parser.table in present for activity in parser.activities
    }
    # A mailbox audit of a server without its cmdlets must not silence the cmdlets of its event log.
    others = present - {family.table for family in pack.families()}
    elsewhere = {a for parser in knowledge.parsers if parser.table in others for a in parser.activities}
    unheld = {
        rule: f"{UNHELD}{platform.name}"
        for rule, platform in knowledge.platforms.items()
        if not present.intersection(platform.tables)
    }
    found = Evidence(
        unheld=unheld, tables=present, coming=coming, activities=provided, absent={}, elsewhere=elsewhere
    )
    return shown(found, told, set())


def shown(found: Evidence, told: families.Absent, held: set[str]) -> Evidence:
    """Return what the case can show when there are acts of some activities.

    Whatever kind of record is missing: an act that is there has been shown, and no rule about it may be skipped.
    """
    absent = {activity: reason for activity, reason in told.reasons.items() if activity not in held}
    said = set(absent.values())
    return msgspec.structs.replace(found, absent=absent, of_host=told.of_host & said, apart=told.apart & said)
