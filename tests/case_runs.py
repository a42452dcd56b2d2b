"""Investigate evidence in tests the way a user does, and ask the case afterwards."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mailwitness import interactive
from mailwitness.pipeline import Progress, Settings, investigate

Record = dict[str, Any]  # Any: JSON values

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "public"


def run(tmp_path: Path, files: dict[str, str | bytes], proof: str = "never") -> list[Record]:
    """Investigate texts and bytes as files of one folder; return the intake, whose counts add up.

    The proof takes half of the time and says nothing about what `ask` shows; hostile input goes through it too.
    """
    evidence = tmp_path / "evidence"
    for name, content in files.items():
        path = evidence / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return run_paths(tmp_path, [evidence], proof)


def run_paths(tmp_path: Path, paths: Iterable[Path], proof: str = "never") -> list[Record]:
    """Investigate files and folders; return the intake, whose counts add up."""
    result = investigate(list(paths), tmp_path / "case", Settings(now=NOW, proof=proof), Progress())
    for row in result.report["intake"]:
        assert row["records"] == row["loaded"] + row["duplicates"] + row["quarantined"], row
    intake: list[Record] = result.report["intake"]
    return intake


class Told:
    """What one investigation says of several small pieces of evidence, each of which is asked for by itself."""

    def __init__(self, folder: Path, evidence: dict[str, dict[str, str | bytes]]) -> None:
        """Investigate all together: most of the time of a small investigation goes into its beginning and its end.

        Args:
            folder: a new folder.
            evidence: name of a piece, which holds no slash -> names and contents of its files.
        """
        self._folder = folder
        self._intake = run(
            folder,
            {f"{piece}/{name}": text for piece, files in evidence.items() for name, text in files.items()},
        )
        assert len(self._intake) == sum(map(len, evidence.values()))
        self._rows: dict[str, list[Record]] = {}

    def intake(self, piece: str) -> list[Record]:
        """Return the intake of the files of a piece."""
        return [row for row in self._intake if f"/{piece}/" in f"/{row['path']}"]

    def rows(self, piece: str, table: str) -> list[Record]:
        """Return the rows of a table, or of a query that keeps place and exhibit, in the order of the evidence."""
        if table not in self._rows:
            self._rows[table] = ask(self._folder, f"{table} | order by _Exhibit asc, _Position asc")
        exhibits = {row["exhibit"] for row in self.intake(piece)}
        return [row for row in self._rows[table] if row["_Exhibit"] in exhibits]

    def acts(self, piece: str) -> list[Record]:
        """Return the rows of MailboxActivity of a piece."""
        return self.rows(piece, "MailboxActivity")


def ask(tmp_path: Path, kql: str) -> list[Record]:
    """Return the rows of a query on the case of `run`; times are ISO 8601 text."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        interactive.query(kql, tmp_path / "case", form="json", limit=100_000, now=NOW.isoformat())
    rows: list[Record] = json.loads(printed.getvalue())
    return rows


def acts(tmp_path: Path) -> list[Record]:
    """Return the rows of MailboxActivity in the order of the evidence."""
    return ask(tmp_path, "MailboxActivity | order by _Exhibit asc, _Position asc")
