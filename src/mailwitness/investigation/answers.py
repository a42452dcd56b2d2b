"""Ask the playbook's questions of every case: yes, no, or not evaluated with its reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import findings
from mailwitness.content.playbook import Needs, Question
from mailwitness.errors import MailwitnessError
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.sentences import filled
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

JsonDict = dict[str, Any]  # Any: JSON values and query cells
_TIMEOUT_SECONDS = 20
# Proving rows of one answer; the numbers count all of them.
_ROWS = 20
_MOST = 20_000
_ORDER = ("yes", "not_evaluated", "no")
_LEVELS = ("low", "medium", "high")
_ROW_COUNT = "mw_rows"


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence can show, as far as questions ask for it.

    Attributes:
        tables: tables with rows, ``Watchlists`` when a list was given.
        activities: acts that a present table can show.
        absent: activity -> why no record can show it.
        records: acts of which there is a record, by whomever.
    """

    tables: set[str]
    activities: set[str]
    absent: dict[str, str]
    records: set[str]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question about one case.

    Attributes:
        said: yes, no or not_evaluated.
        sentence: the answer in words.
        numbers: what was counted over all rows of the answer.
        rows: (exhibit, record number) of the rows that prove it.
        doubt: why "no" is less sure than it sounds; empty when nothing is known against it.
    """

    id: str
    question: str
    said: str
    sentence: str
    numbers: JsonDict
    rows: tuple[tuple[str, int], ...]
    confidence: str
    reason: str = ""
    doubt: str = ""


def ask(
    connection: duckdb.DuckDBPyConnection,
    question: Question,
    sql: str,
    cases: Sequence[str],
    ground: Ground,
    kept: dict[str, str],
) -> dict[str, Answer]:
    """Ask one question of all cases.

    Args:
        connection: has the tables of the cases.
        question: the question, placeholders expanded.
        sql: its translated query.
        cases: ids of the cases.
        ground: what the evidence can show.
        kept: the translations; what the query returns is kept beside them.

    Returns:
        One answer for each case.
    """
    reason = missing(question.needs, ground)
    if reason:
        return {case: _unanswered(question, reason) for case in cases}
    try:
        rows = _rows(connection, question, sql, _columns(connection, question, sql, kept))
    except MailwitnessError as error:
        return {case: _unanswered(question, str(error)) for case in cases}
    by_case: dict[str, list[JsonDict]] = {}
    for row in rows:
        by_case.setdefault(str(row["CaseId"]), []).append(row)
    doubt = _doubt(question, ground)
    return {case: _answer(question, by_case.get(case, []), doubt) for case in cases}


def missing(needs: Needs, ground: Ground) -> str:
    """Return why the evidence cannot answer; empty when it can."""
    if needs.tables and not ground.tables & set(needs.tables):
        return f"no exhibit holds {' or '.join(needs.tables)}"
    shown = ground.activities - set(ground.absent)
    if needs.activities and not shown & set(needs.activities):
        reasons = sorted({ground.absent[a] for a in needs.activities if a in ground.absent})
        return "; ".join(reasons) or f"no exhibit can show {', '.join(needs.activities[:4])}"
    if needs.records and not ground.records & set(needs.records):
        return f"the evidence holds no record of the kind {', '.join(needs.records[:4])}"
    return ""


def _doubt(question: Question, ground: Ground) -> str:
    """Say what part of what is asked for no record could show."""
    reasons = {ground.absent[a] for a in question.needs.activities if a in ground.absent}
    return "; ".join(sorted(reasons)[:2])


def _columns(
    connection: duckdb.DuckDBPyConnection, question: Question, sql: str, kept: dict[str, str]
) -> dict[str, str]:
    """Return the columns of a question's query with their types; planning it to learn them takes as long as asking it."""
    key = f"columns of a question: {question.query}"
    if key not in kept:
        described = connection.execute(f"DESCRIBE {sql}").fetchall()
        kept[key] = json.dumps({str(row[0]): str(row[1]) for row in described})
    return dict(json.loads(kept[key]))


def _rows(
    connection: duckdb.DuckDBPyConnection, question: Question, sql: str, known: dict[str, str]
) -> list[JsonDict]:
    """Return the first rows of each case and answer in a stable order, with the numbers over all of them."""
    part = "PARTITION BY CaseId" + (", Answer" if "Answer" in known else "")
    counted = {_ROW_COUNT: "count", **question.numbers}
    numbers = ", ".join(
        f"{_number(how, known, part)} AS {identifier(f'mw_n_{name}')}" for name, how in counted.items()
    )
    leading = [
        name
        for name in ("TimeGenerated", "_Exhibit", "_Position", *sorted(known))
        if name in known and known[name] != "JSON"
    ]
    order = ", ".join(f"{identifier(name)} NULLS LAST" for name in dict.fromkeys(leading))
    shown = (
        f"SELECT *, {numbers}, row_number() OVER ({part} ORDER BY {order}) AS mw_place FROM ({sql}) "
        f"QUALIFY mw_place <= {_ROWS} ORDER BY CaseId, mw_place, {order}"
    )
    return findings.execute(connection, shown, timeout_seconds=_TIMEOUT_SECONDS, limit=_MOST)


def _number(how: str, known: dict[str, str], part: str) -> str:
    """Return the SQL of one number: ``count``, or a function of a column."""
    if how == "count":
        return f"count(*) OVER ({part})"
    function, _, column = how.partition(" ")
    name = identifier(column)
    if column not in known:
        raise MailwitnessError(
            f"a number counts {column}, which the query does not return", remedy="Correct the question."
        )
    if function == "distinct":
        blank = f" FILTER ({name} <> '')" if known[column] == DUCKDB_TYPES["string"] else ""
        return f"count(DISTINCT {name}){blank} OVER ({part})"
    return f"{function}({name}) OVER ({part})"


def _answer(question: Question, rows: list[JsonDict], doubt: str) -> Answer:
    if not rows:
        return _silent(question, doubt)
    said = next(word for word in _ORDER if any(_said(row) == word for row in rows))
    telling = [row for row in rows if _said(row) == said]
    first = telling[0]
    # A row without a record says that nothing was found; it is not one of what is counted.
    counted = _none(question) if said == "no" and first.get("_Exhibit") == "" else _numbers(question, first)
    if said == "not_evaluated":
        reason = str(first.get("Reason") or "") or filled(question.answers.not_evaluated, first)
        return _unanswered(question, reason)
    template = question.answers.yes if said == "yes" else question.answers.no
    unsure = doubt if said == "no" else ""
    return Answer(
        id=question.id,
        question=question.question,
        said=said,
        sentence=filled(template, {**first, **counted}),
        numbers=counted,
        rows=_proof(telling),
        confidence=_lowered(question.confidence) if unsure else question.confidence,
        doubt=unsure,
    )


def _silent(question: Question, doubt: str) -> Answer:
    if question.silent == "not_evaluated":
        return _unanswered(question, question.answers.not_evaluated)
    template = question.answers.no if question.silent == "no" else question.answers.yes
    numbers = {
        name: 0 for name, how in question.numbers.items() if how.split(" ")[0] in {"count", "distinct"}
    }
    return Answer(
        id=question.id,
        question=question.question,
        said=question.silent,
        sentence=filled(template, numbers),
        numbers=numbers,
        rows=(),
        confidence=_lowered(question.confidence) if doubt else question.confidence,
        doubt=doubt,
    )


def _numbers(question: Question, row: JsonDict) -> JsonDict:
    found = {name: _plain(row.get(f"mw_n_{name}")) for name in question.numbers}
    return {name: value for name, value in found.items() if value is not None}


def _none(question: Question) -> JsonDict:
    return {name: 0 for name, how in question.numbers.items() if how.split(" ")[0] in {"count", "distinct"}}


def _unanswered(question: Question, reason: str) -> Answer:
    return Answer(
        id=question.id,
        question=question.question,
        said="not_evaluated",
        sentence=f"Not evaluated: {reason}. {question.needs.remedy}",
        numbers={},
        rows=(),
        confidence="low",
        reason=reason,
    )


def _said(row: JsonDict) -> str:
    word = str(row.get("Answer") or "yes")
    return word if word in _ORDER else "not_evaluated"


def _proof(rows: list[JsonDict]) -> tuple[tuple[str, int], ...]:
    pairs = [pair for row in rows for pair in findings.supporting_rows(row)]
    return tuple(dict.fromkeys(pairs))[:_ROWS]


def _plain(value: Any) -> Any:  # noqa: ANN401 - a number or a time as the database gives it
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return round(value, 1)
    if hasattr(value, "strftime"):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return int(value) if str(value).isdigit() else str(value)


def _lowered(confidence: str) -> str:
    return _LEVELS[max(_LEVELS.index(confidence) - 1, 0)]
