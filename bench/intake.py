"""Load files into tables as a case does, for measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness import tables
from mailwitness.sources import Intake

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailwitness.loading import Wanted
    from mailwitness.models import Exhibit
    from mailwitness.sources import Tally


def prepare(
    exhibits: list[Exhibit], folder: Path, wanted: Wanted | None, *, threads: int = 2, memory: str = "2GB"
) -> Callable[[], list[Tally]]:
    """Open a case's tables in an empty folder; return what loads the exhibits, closes the tables and gives the counts.

    Opening is no part of what is measured: a run opens its tables once.
    """
    for name in ("work", "index", "tables"):
        (folder / name).mkdir()
    connection = tables.connect(memory=memory, threads=threads, temporary=folder, in_order=True)
    store = tables.TableStore(folder / "tables")
    intake = Intake(connection, store, wanted=wanted, work=folder / "work", index_folder=folder / "index")

    def load() -> list[Tally]:
        for exhibit in exhibits:
            intake.add(exhibit)
        intake.finish()
        connection.close()
        return list(intake.tallies.values())

    return load
