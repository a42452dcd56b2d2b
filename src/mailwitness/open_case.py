"""An open case: its tables behind a locked connection, the engine, and what the evidence can show."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness import activities, chain_acts, engines, families, needs, tables
from mailwitness.blind_rules import Evidence
from mailwitness.content import pack
from mailwitness.findings import UNHELD
from mailwitness.kql import words
from mailwitness.needs import Needs
from mailwitness.proof import computing

if TYPE_CHECKING:
    import duckdb

    from mailwitness.activities import Later
    from mailwitness.kql import KqlEngine
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
        self.proof: Computing | None = None

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
) -> OpenCase:
    """Open a case's tables and compute MailboxActivity for what the run's queries name.

    Args:
        folder: the case folder.
        knowledge: the content of the run.
        now: the clock of the run.
        work: folder for temporary files; MailboxActivity is stored there.
        connection: a database of our own, from ``tables.connect``; the open case closes it.
        given: the exhibits, when the tables of the proof are to be computed; None leaves them out.
    """
    store = tables.TableStore(folder / "tables")
    store.create_views(connection)
    engine = new_engine(knowledge)
    present = store.tables()
    ruled = needed(knowledge)
    wanted = ruled.plus(questioned(knowledge))
    first = early(knowledge)
    left = activities.bulk(knowledge.parsers) - first.activities()
    asked = [*queries(knowledge), *question_queries(knowledge)]
    named = {word for query in asked for word in words(query)} | ALWAYS_STORED
    if given is not None:
        wanted, first = wanted.plus(computing.activities()), first.plus(computing.activities())
        named |= computing.columns()
    union = activities.union_sql(
        connection, engine, knowledge.parsers, present, now=now, needed=wanted, early=first
    )
    later = activities.Later(
        connection, engine, knowledge.parsers, present, now=now, needed=wanted, early=first
    )
    activities.materialise(
        connection, union, work / "activity.parquet", needed=wanted.activities(), named=named
    )
    later.shown = ruled.activities() - left
    activities.narrow(connection, later.shown)
    tables.lock(connection, [folder / "tables", work])
    proof = (
        None if given is None else _proving(connection, store, work, present=present, given=given, now=now)
    )
    held = activities.held(connection) | later.held()
    coming = computing.TABLES if proof is not None else frozenset[str]()
    found = evidence(connection, knowledge, present, held, coming=coming)
    opened = OpenCase(connection, engine, knowledge, found, now=now, work=work, held=held, later=later)
    opened.proof = proof
    return opened


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
    )
    if sum(exhibit.size_bytes for exhibit in given) > _BESIDE_BYTES:
        proof.wait()
    return proof


def evidence(
    connection: duckdb.DuckDBPyConnection,
    knowledge: pack.Pack,
    present: set[str],
    shown: set[str],
    *,
    coming: frozenset[str] = frozenset(),
) -> Evidence:
    """Say what the case can show, and what its records cannot although their table is there.

    Args:
        connection: has a view for every table.
        knowledge: the content of the run.
        present: tables with rows.
        shown: activities of which there is an act.
        coming: tables that are being computed.
    """
    present = present | coming
    provided = {
        activity for parser in knowledge.parsers if parser.table in present for activity in parser.activities
    }
    told, of_host, apart = families.absent(connection, pack.families(), knowledge.parsers, present)
    # Whatever kind of record is missing: an act that is there has been shown, and no rule about it may be skipped.
    absent = {activity: reason for activity, reason in told.items() if activity not in shown}
    said = set(absent.values())
    # A mailbox audit of a server without its cmdlets must not silence the cmdlets of its event log.
    others = present - {family.table for family in pack.families()}
    elsewhere = {a for parser in knowledge.parsers if parser.table in others for a in parser.activities}
    unheld = {
        rule: f"{UNHELD}{platform.name}"
        for rule, platform in knowledge.platforms.items()
        if not present.intersection(platform.tables)
    }
    return Evidence(
        unheld=unheld,
        tables=present,
        coming=coming,
        activities=provided,
        absent=absent,
        of_host=of_host & said,
        apart=apart & said,
        elsewhere=elsewhere,
    )
