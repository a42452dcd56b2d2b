"""Run the tests inside checks, and say what is wrong with checks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailwitness import tables
from mailwitness.content import loader
from mailwitness.engines import new_engine
from mailwitness.errors import MailwitnessError
from mailwitness.posture.blind import shipped
from mailwitness.posture.evaluate import TABLE, Bench, drop, put

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from mailwitness.content.schemas import Check, CheckCase

_STAMP = "2026-03-02T08:00:00Z"


def tests(paths: list[Path], *, now: dt.datetime) -> Iterator[tuple[Path, str, str]]:
    """Yield file, name of the test, and what came instead; empty when it passed."""
    rules = shipped()
    engine = new_engine()
    with tempfile.TemporaryDirectory(prefix="mailwitness-") as temporary:
        connection = tables.connect(memory="512MB", threads=1, temporary=Path(temporary))
        for path, check in loader.checks(*paths):
            for test in check.tests:
                fill(connection, test.rows, Path(temporary))
                yield path, test.name, _problem(Bench(connection, engine, now=now, rules=rules), check, test)
        connection.close()


def fill(connection: Any, rows: list[dict[str, Any]], work: Path) -> None:  # noqa: ANN401 - a database connection
    """Make SettingsSnapshot hold exactly these rows."""
    empty = tables.TableStore(work / "tables").view_sql(TABLE, loader.tables()[TABLE].columns)
    drop(connection)
    connection.execute(f"CREATE VIEW {TABLE} AS {empty}")
    put(connection, [{"SnapshotTime": _STAMP, **row} for row in rows], work)


def _problem(bench: Bench, check: Check, test: CheckCase) -> str:
    try:
        found = bench.judge(check)
    except MailwitnessError as error:
        return str(error)
    if found.outcome != test.expect:
        return f"expected {test.expect}, got {found.outcome} ({found.reason})"
    names = [one.identity for one in found.failing]
    if test.identities and names != test.identities:
        return f"expected {test.identities} to fail, got {names}"
    return ""


def problems(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield file and what is wrong with a check beside its tests."""
    rules = shipped()
    kinds = set(loader.read_yaml(loader.CONTENT / "checks" / "_kinds.yaml"))
    for path, check in loader.checks(*paths):
        if check.id != path.stem or check.platform != path.parent.name:
            yield path, "its id is not its file's name, or its platform not its folder's"
        yield from (
            (path, f"_kinds.yaml does not say how to get {kind}") for kind in check.needs if kind not in kinds
        )
        if {test.expect for test in check.tests} != {"pass", "fail", "not evaluated"}:
            yield path, "it needs a test that passes, one that fails and one that cannot be evaluated"
        yield from (
            (path, f"there is no activity {one}")
            for one in (check.blind.activities if check.blind else [])
            if not rules.knows(one)
        )
        if check.blind is not None and not rules.blinded(check.blind).rules:
            yield path, "it names activities that no rule looks for"
        if not check.references or not check.fix or check.meaning.endswith("."):
            yield path, "it needs a reference and a fix, and its meaning has no full stop"
