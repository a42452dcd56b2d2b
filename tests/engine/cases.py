"""Load and investigate small inputs the way the program does, and read the results back."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from mailwitness import cli, pipeline, tables
from mailwitness.content import loader
from mailwitness.models import Exhibit
from mailwitness.readers.index import RecordIndex
from mailwitness.sources import Intake, limits

if TYPE_CHECKING:
    import duckdb

if TYPE_CHECKING:
    import duckdb

    from mailwitness.loading import Wanted

Json = dict[str, Any]  # Any: JSON values
NOW = dt.datetime(2026, 3, 31, 12, 0, tzinfo=dt.UTC)
NOW_TEXT = "2026-03-31T12:00:00Z"


def utc(year: int, month: int, day: int, hour: int, minute: int, second: int) -> dt.datetime:
    """Return a moment as tables hold it: UTC without a zone."""
    return dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC).replace(tzinfo=None)


class Loaded:
    """An intake that is done, with the rows of its tables."""

    def __init__(self, intake: Intake, exhibits: list[Exhibit]) -> None:
        """Keep what a test looks at; rows are read on demand."""
        self.intake = intake
        self.exhibits = exhibits

    def rows(self, table: str = "OfficeActivity", *, raw: bool = False) -> list[Json]:
        """Return the rows of a table in the order of exhibits and records."""
        view = self.intake.store.view_sql(table, loader.tables()[table].columns, raw=raw)
        cursor = self.intake.connection.execute(f"SELECT * FROM ({view}) ORDER BY _Exhibit, _Position")
        return tables.rows(cursor)

    def counts(self, exhibit: str = "E1") -> tuple[int, int, int, int]:
        """Return records, loaded, duplicates, quarantined."""
        tally = self.intake.tallies[exhibit]
        return tally.records, tally.loaded, tally.duplicates, tally.quarantined

    def source(self, exhibit: str = "E1") -> str:
        """Return the names of the sources that were recognised."""
        return ", ".join(self.intake.tallies[exhibit].sources)

    def quarantine(self) -> list[Json]:
        """Return every entry of the quarantine log."""
        text = (self.intake.work / "quarantine.jsonl").read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def index(self, exhibit: str = "E1") -> RecordIndex:
        """Return the saved record index of an exhibit."""
        found = next(item for item in self.exhibits if item.id == exhibit)
        index = self.intake.indexes.load(found)
        assert index is not None
        return index

    def proof(self, row: Json) -> bytes:
        """Return the bytes of the original that a row's exhibit and position lead to."""
        found = next(item for item in self.exhibits if item.id == row["_Exhibit"])
        place = self.index(found.id).locate(row["_Position"])
        return found.location.read_bytes()[place.offset : place.offset + place.length]


def only(found: Loaded, table_name: str = "OfficeActivity") -> Json:
    """Return the only row of an input."""
    rows = found.rows(table_name)
    assert len(rows) == 1
    return rows[0]


# -- quirks of values ------------------------------------------------------------------------


@functools.cache
def database() -> duckdb.DuckDBPyConnection:
    """Return one database for all loads of this process: opening one takes longer than most tests."""
    return tables.connect(
        memory="512MB", threads=2, temporary=Path(tempfile.mkdtemp(prefix="mailwitness-test-"))
    )


@contextlib.contextmanager
def loaded(*contents: bytes, names: tuple[str, ...] = (), wanted: Wanted | None = None) -> Iterator[Loaded]:
    """Load contents as exhibits E1, E2, ... of a new case and yield the result."""
    with tempfile.TemporaryDirectory(prefix="mailwitness-test-") as temporary:
        root = Path(temporary)
        for name in ("work", "index", "tables", "evidence"):
            (root / name).mkdir()
        exhibits = []
        for i, content in enumerate(contents):
            path = root / "evidence" / (names[i] if i < len(names) else f"export{i + 1}")
            path.write_bytes(content)
            digest = blake3(content).hexdigest()
            exhibits.append(
                Exhibit(id=f"E{i + 1}", path=path.name, location=path, size_bytes=len(content), blake3=digest)
            )
        connection = database()
        intake = Intake(
            connection,
            tables.TableStore(root / "tables"),
            wanted=wanted,
            work=root / "work",
            index_folder=root / "index",
        )
        for exhibit in exhibits:
            intake.add(exhibit)
        intake.finish()
        yield Loaded(intake, exhibits)


@contextlib.contextmanager
def through(way: str) -> Iterator[None]:
    """Load through ``python`` (record by record) or ``sql`` (as large files are), whatever the size."""
    before = limits.SMALL_BYTES
    limits.SMALL_BYTES = 0 if way == "sql" else before
    try:
        yield
    finally:
        limits.SMALL_BYTES = before


def write(folder: Path, **files: bytes) -> Path:
    """Write files into a new folder; ``__`` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def investigate(case: Path, *evidence: Path, now: dt.datetime = NOW, **settings: Any) -> Json:
    """Run the whole flow in this process and return report.json as written."""
    pipeline.investigate(
        evidence, case, pipeline.Settings(now=now, **{"threads": 2, **settings}), pipeline.Progress()
    )
    report: Json = json.loads((case / "report.json").read_bytes())
    return report


class Ran:
    """A finished process."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        """Keep the exit code and both streams as bytes and as text."""
        self.code = code
        self.raw_out, self.raw_err = out, err
        self.out, self.err = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return standard output as JSON; nothing else may be on it."""
        return json.loads(self.raw_out)


def called(*arguments: str | Path) -> Ran:
    """Run the program in this process: the same code as :func:`mailwitness`, without the start of Python."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["mailwitness", *map(str, arguments)]
    try:
        with (
            warnings.catch_warnings(action="ignore", category=UserWarning),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            cli.main()
    finally:
        sys.argv = before
    code = ended.value.code
    assert isinstance(code, int)
    return Ran(
        code, out.getvalue().encode("utf-8", "surrogatepass"), err.getvalue().encode("utf-8", "surrogatepass")
    )


def program() -> list[str]:
    """Return the command that starts the program of this checkout."""
    return [sys.executable, "-m", "mailwitness.cli"]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a child: this checkout first on the path, a width that wraps nothing away."""
    source = str(Path(pipeline.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": source, "COLUMNS": "200", "PYTHONWARNINGS": "default", **changes}


def mailwitness(*arguments: str | Path, cwd: Path | None = None, **changes: str) -> Ran:
    """Run the program as a person does: a process of its own, its streams piped."""
    run = subprocess.run(
        [*program(), *map(str, arguments)],
        check=False,
        capture_output=True,
        cwd=cwd,
        env=environment(**changes),
        timeout=300,
    )
    return Ran(run.returncode, run.stdout, run.stderr)


class Finished:
    """A finished investigation by the program itself."""

    def __init__(self, folder: Path, ran: Ran) -> None:
        """Keep where the case lies and what the program said."""
        self.folder = folder
        self.ran = ran
        self.report: Json = json.loads((folder / "report.json").read_bytes())

    def text(self, name: str) -> str:
        """Return a file of the case as text."""
        return (self.folder / name).read_text("utf-8")
