"""Listings of a mailbox that came as a file: exports of Graph, Gmail, doveadm, and whatever else a source recognises."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness import tables
from mailwitness.errors import Unreadable
from mailwitness.evidence import seal
from mailwitness.evidence.names import display_name
from mailwitness.models import Exhibit
from mailwitness.snapshots.stores import Item
from mailwitness.sources import Intake

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from mailwitness.snapshots.stores import Order

_BATCH = 10_000
_COLUMNS = (
    "StoreKind", "Mailbox", "Folder", "MessageId", "Subject", "Sender", "Recipients", "HeaderDigest", "BodyDigest", "Flags", "Uid",
    "Path", "Problems", "SizeBytes", "ItemCount", "StatedSizeBytes", "IsDeleted",
)  # fmt: skip
_TIMES = {"ReceivedAt": "TimeGenerated", "Date": "Date"}


def walk(path: Path, work: Path, after: tuple[Order, int] | None = None) -> Iterator[Item]:
    """Yield the messages that a listing names, in its order.

    Args:
        path: the listing.
        work: folder for temporary files.
        after: number of the last record that an earlier run has kept.

    Raises:
        Unreadable: no source recognises a listing of messages in it.
    """
    folder = work / "listing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    connection = tables.connect(memory="512MB", threads=1, temporary=folder, in_order=True)
    try:
        store = tables.TableStore(folder / "tables")
        intake = Intake(connection, store, wanted=None, work=folder, index_folder=folder / "index")
        (folder / "index").mkdir()
        status = path.stat()
        name = display_name(path.absolute())
        intake.add(
            Exhibit(
                id="E1",
                path=name,
                location=path.absolute(),
                size_bytes=status.st_size,
                blake3=seal.rehash(path).blake3,
                kept=False,
            )
        )
        intake.finish()
        if "PresentMessage" not in store.tables():
            raise Unreadable(
                "nothing in it is a listing of messages",
                place=name,
                remedy="See `mailwitness sources` for what can be read.",
            )
        store.create_views(connection)
        yield from _rows(connection, int(status.st_mtime), after)
    finally:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


def _rows(
    connection: duckdb.DuckDBPyConnection, newest: int, after: tuple[Order, int] | None
) -> Iterator[Item]:
    listed = ", ".join(tables.identifier(name) for name in _COLUMNS)
    times = ", ".join(
        f"strftime({tables.identifier(of)}, '%Y-%m-%dT%H:%M:%SZ') AS {tables.identifier(name)}"
        for name, of in _TIMES.items()
    )
    cursor = connection.execute(f"SELECT {listed}, {times}, ListedAt FROM PresentMessage ORDER BY _Position")
    names = [column[0] for column in cursor.description or []]
    number = -1
    while batch := cursor.fetchmany(_BATCH):
        for row in batch:
            number += 1
            record = dict(zip(names, row, strict=True))
            record.pop("ListedAt")
            if after is None or number > after[1]:
                yield Item(("listing",), number, record, "", newest)
