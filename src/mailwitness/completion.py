"""Load what a first pass left out, when a query asks for it.

A run stores the columns that rules name, and large nested values only where rules need them. A query may
name any column of any row: then the segments concerned are loaded again in full from the sealed originals.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness import activities, needs, own_sources, pipeline, tables
from mailwitness.content import loader, pack
from mailwitness.errors import ChangedWhileRead
from mailwitness.evidence import custody, seal
from mailwitness.kql import referenced_tables, words
from mailwitness.models import Exhibit
from mailwitness.neighbours import Neighbours
from mailwitness.pipeline import TOOL, Settings
from mailwitness.sources import Intake

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from mailwitness.evidence.store import CaseFolder
    from mailwitness.kql import KqlEngine
    from mailwitness.tables import Segment


def missing_columns(segments: list[Segment], kql: str, asked: set[str]) -> set[str]:
    """Return the columns that a query names and some segment of its tables holds not at all or in part."""
    named = words(kql)
    known = loader.tables()
    missing: set[str] = set()
    for segment in segments:
        if segment.table not in asked:
            continue
        public = {column.name for column in known[segment.table].columns if not column.name.startswith("_")}
        # Without one of these operators a query shows every column of its table.
        shows_all = not named & {"project", "summarize", "count", "distinct", "project_keep", "make_series"}
        everything = public if "*" in kql or "getschema" in named or shows_all else set()
        wanted = (named | everything) & public
        missing |= wanted - set(segment.columns)
        missing |= wanted & set(segment.partial)
    return missing


@contextmanager
def opened(
    folder: CaseFolder, kql: str, settings: Settings
) -> Iterator[tuple[duckdb.DuckDBPyConnection, KqlEngine]]:
    """Open the tables of a finished case for one query, completed and locked; all of MailboxActivity where it is named.

    Args:
        folder: the case.
        kql: the query, or the name of the table it is about; empty needs nothing that is not stored.
        settings: clock, memory and threads.

    Raises:
        ChangedWhileRead: an original is gone or not the sealed one any more.
    """
    knowledge = pack.load()
    with tempfile.TemporaryDirectory(prefix="mailwitness-") as temporary:
        work = Path(temporary)
        complete(folder, kql, settings, work)
        connection, engine = pipeline.open_tables(folder.path, settings, knowledge, work)
        try:
            if needs.TABLE in referenced_tables(kql, engine.schema):
                present = tables.TableStore(folder.tables).tables()
                union = activities.union_sql(connection, engine, knowledge.parsers, present, now=settings.now)
                activities.create_view(connection, union)
            tables.lock(connection, [folder.tables, work])
            yield connection, engine
        finally:
            connection.close()


def complete(folder: CaseFolder, kql: str, settings: Settings, work: Path) -> bool:
    """Load all exhibits of a case in full when the query needs more than is stored.

    Returns:
        Whether anything was loaded again.

    Raises:
        ChangedWhileRead: an original is gone or not the sealed one any more.
    """
    knowledge = pack.load()
    known = loader.tables()
    asked = referenced_tables(kql, known)
    asked |= {parser.table for parser in knowledge.parsers} if "MailboxActivity" in asked else set()
    store = tables.TableStore(folder.tables)
    direct = referenced_tables(kql, known)
    if not missing_columns(store.segments(), kql, direct) and not _parsers_need_more(
        store.segments(), asked - direct, knowledge
    ):
        return False
    with folder.lock():
        _load_everything(folder, settings, work)
    return True


def _parsers_need_more(segments: list[Segment], asked: set[str], knowledge: pack.Pack) -> bool:
    """Tell whether a parser names values that are stored for some rows only."""
    return any(
        not words(parser.query).isdisjoint(segment.partial)
        for parser in knowledge.parsers
        if parser.table in asked
        for segment in segments
        if segment.table == parser.table
    )


def _load_everything(folder: CaseFolder, settings: Settings, work: Path) -> None:
    kept = exhibits(folder)
    for exhibit in kept:
        if not exhibit.location.is_file() or seal.rehash(exhibit.location).blake3 != exhibit.blake3:
            raise ChangedWhileRead(
                "the original is gone or changed, and the query needs columns that were not stored",
                place=exhibit.path,
                remedy="Put the sealed original back in its place, or ask for other columns.",
            )
    log = custody.CustodyLog(folder.custody, now=settings.now, tool=TOOL)
    connection = tables.connect(
        memory=settings.memory_limit(), threads=settings.thread_count(), temporary=work, in_order=True
    )
    described = folder.description()
    # The same sources and places as in the run: without them records would silently be others, or none.
    intake = Intake(
        connection,
        tables.TableStore(folder.tables),
        wanted=None,
        work=work,
        index_folder=folder.index,
        own=own_sources.read([Path(name) for name in described.get("sources", [])]),
        neighbours=Neighbours(kept, described.get("others", {})),
    )
    try:
        for exhibit in kept:
            intake.add(exhibit)
        intake.finish()
        log.append("completed", now=settings.now, exhibits=len(intake.tallies))
    finally:
        connection.close()
        log.close()


def exhibits(folder: CaseFolder) -> list[Exhibit]:
    """Return the exhibits of a case as case.json lists them."""
    return [
        Exhibit(
            id=item["id"],
            path=item["path"],
            location=Path(item["location"]),
            size_bytes=item["size_bytes"],
            blake3=item["blake3"],
            kept=item["kept"],
        )
        for item in folder.description().get("exhibits", [])
    ]
