"""Mailboxes that an earlier snapshot of the same store has and a new one does not: a file or Maildir that was removed, or holds mail no more.

A snapshot says nothing of a file that it does not find, so the removal of a whole mailbox would look as if nobody had looked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from mailwitness import tables
from mailwitness.snapshots import stores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Folders of a Maildir lie below its root, and a mailbox file is its own root.
_ROOTS = (
    "SELECT DISTINCT regexp_replace(Path, '/(?:\\.[^/]+/)*(?:cur|new)/[^/]+$', '') AS Root, regexp_matches(Path, '/(?:cur|new)/[^/]+$') AS IsMaildir "
    "FROM read_parquet([{files}]) WHERE StoreKind IN ('mbox', 'maildir', 'folder statistics') AND Path <> ''"
)


def records(earlier: Sequence[Path], parts: Sequence[Path], problems: Sequence[str]) -> list[stores.Record]:
    """Return a record for each mailbox that is gone as a whole: that it was looked for, and holds nothing.

    Args:
        earlier: files of finished snapshots of the same store.
        parts: files of records of the new one.
        problems: what could not be read this time, with its path; such a mailbox is not gone.
    """
    if not earlier:
        return []
    gone = sorted(_roots(earlier) - _roots(parts))
    readable = [one for one in gone if not any(problem.startswith(one[0]) for problem in problems)]
    found = [stores.nothing_at(root, is_maildir=is_maildir) for root, is_maildir in readable]
    return [record for record in found if record is not None]


def _roots(files: Sequence[Path]) -> set[tuple[str, bool]]:
    if not files:
        return set()
    listed = ", ".join(tables.literal(str(path)) for path in files)
    with duckdb.connect(":memory:") as asked:
        return {
            (str(root), bool(kind))
            for root, kind in asked.execute(_ROOTS.replace("{files}", listed)).fetchall()
        }
