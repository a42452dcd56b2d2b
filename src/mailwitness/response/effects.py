"""Whether evidence collected again shows that a step of the response took effect."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mailwitness.needs import TABLE
from mailwitness.tables import identifier, literal, rows

if TYPE_CHECKING:
    import duckdb

    from mailwitness.content.actions import Action, Effect
    from mailwitness.response.planning import Step

JsonDict = dict[str, Any]  # Any: JSON values
Result = Literal["shown", "contradicted", "not evaluated"]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence says of one step, in words, with the record that says it."""

    step: str
    result: Result
    sentence: str
    exhibit: str = ""
    record: int = -1


def check(
    connection: duckdb.DuckDBPyConnection,
    step: Step,
    action: Action,
    *,
    case: JsonDict,
    intake: list[JsonDict],
    since: dt.datetime,
    evidence: str,
) -> Checked:
    """Judge a step that was marked as done.

    Silence shows nothing: without an act that shows the step, it stays *not evaluated*.

    Args:
        connection: has MailboxActivity of the newest evidence.
        step: the step.
        action: its action.
        case: one of ``cases`` of report.json.
        intake: ``intake`` of report.json.
        since: when the step was marked as done, naive UTC.
        evidence: what was named when it was.
    """
    against = _first(connection, action.contradicted_by, step, case, since)
    if against is not None:
        return _of(step, "contradicted", against, "still happened")
    for item in intake:
        if action.preserves and _is_named(item["path"], evidence) and item["sha256"]:
            sentence = f"{item['path']} is exhibit {item['exhibit']}, SHA-256 {item['sha256']}"
            return Checked(step=step.id, result="shown", sentence=sentence, exhibit=item["exhibit"])
    shown = _first(connection, action.shown_by, step, case, since)
    if shown is not None:
        return _of(step, "shown", shown, "is recorded")
    return Checked(step=step.id, result="not evaluated", sentence=_missing(connection, action, since))


def _is_named(path: str, evidence: str) -> bool:
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return bool(name) and name in evidence.replace("\\", "/").replace(",", " ").replace("/", " ").split()


def _of(step: Step, result: Result, row: JsonDict, what: str) -> Checked:
    said = f"{row['Activity']} by {row['Actor'] or 'somebody'} {what} at {row['At']}"
    return Checked(
        step=step.id, result=result, sentence=said, exhibit=row["Exhibit"], record=int(row["Record"])
    )


def _first(
    connection: duckdb.DuckDBPyConnection,
    effects: list[Effect],
    step: Step,
    case: JsonDict,
    since: dt.datetime,
) -> JsonDict | None:
    asked = [_sql(effect, step, case) for effect in effects]
    if not asked:
        return None
    found = rows(
        connection.execute(
            f"SELECT Activity, Actor, strftime(TimeGenerated, '%Y-%m-%dT%H:%M:%SZ') AS At, _Exhibit AS Exhibit, _Position AS Record "
            f"FROM {TABLE} WHERE TimeGenerated > TIMESTAMP '{since}' AND ActivityResult <> 'Failed' AND ({' OR '.join(asked)}) "
            "ORDER BY TimeGenerated, _Exhibit, _Position LIMIT 1"
        )
    )
    return found[0] if found else None


def _sql(effect: Effect, step: Step, case: JsonDict) -> str:
    parts = ["true"]
    if effect.activities:
        parts.append(f"Activity IN ({', '.join(literal(name) for name in effect.activities)})")
    else:
        # A sign-in that failed is what the step is for.
        parts.append("Activity <> 'SignInFailed'")
    if effect.column:
        parts.append(f"lower({identifier(effect.column)}) = {literal(step.value.lower())}")
    if effect.sessions:
        parts.append(f"SessionId IN ({', '.join(literal(one) for one in case['sessions']) or 'NULL'})")
    if effect.after:
        parts.append(f"SettingAfter {'=' if effect.after == 'empty' else '<>'} ''")
    return f"({' AND '.join(parts)})"


def _missing(connection: duckdb.DuckDBPyConnection, action: Action, since: dt.datetime) -> str:
    last = connection.execute(f"SELECT max(TimeGenerated) FROM {TABLE}").fetchall()[0][0]
    if last is None or last <= since:
        return f"no record is later than {since:%Y-%m-%dT%H:%M:%SZ}: collect the evidence again and investigate it"
    if action.preserves:
        return "what was named as its evidence is no exhibit of the case: investigate that file too"
    if action.contradicted_by:
        return f"nothing speaks against it until {last:%Y-%m-%dT%H:%M:%SZ}, and no record shows it: {action.verify}"
    return f"no record shows it until {last:%Y-%m-%dT%H:%M:%SZ}: {action.verify}"
