"""Comparing two snapshots of a case: exact losses, header changes and what is new."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailwitness import tables
from mailwitness.errors import ConfigError
from mailwitness.proof import statements
from mailwitness.snapshots import taking

if TYPE_CHECKING:
    from mailwitness.snapshots.taking import Taken

# What a message loses or what is done to it; new and moved messages are no loss.
LOSSES = ("lost", "body altered", "header altered")
_ORDER = (
    "CASE Difference WHEN 'lost' THEN 0 WHEN 'body altered' THEN 1 WHEN 'header altered' THEN 2 WHEN 'new' THEN 3 ELSE 4 END, "
    "Mailbox, Folder, ReceivedAt, MessageId, Subject"
)


def named(case: Path, name: str) -> Taken:
    """Return a finished snapshot.

    Raises:
        ConfigError: the case has none of that name.
    """
    found = {taken.name: taken for taken in taking.finished(case)}
    if name not in found:
        raise ConfigError(
            f"the case has no snapshot {name[:80]!r}",
            place=str(case),
            remedy="See `mailwitness snapshot list`.",
        )
    return found[name]


def differences(
    case: Path, first: str, second: str, *, limit: int
) -> tuple[dict[str, int], list[dict[str, Any]]]:  # Any: query cells
    """Return how many messages differ in which way, and the differences, losses first.

    Args:
        case: the case folder.
        first: name of the earlier snapshot.
        second: name of the later one.
        limit: most differences to return.
    """
    values = {
        side: tables.literal(str(case / taking.FOLDER / f"{named(case, name).name}.parquet"))
        for side, name in (("first", first), ("second", second))
    }
    with tempfile.TemporaryDirectory(prefix="mailwitness-") as temporary:
        connection = tables.connect(memory="1GB", threads=2, temporary=Path(temporary))
        try:
            statements.run(connection, "compare.sql", values, package="mailwitness.snapshots")
            rows = tables.rows(
                connection.execute(f"SELECT * FROM differences ORDER BY {_ORDER} LIMIT {limit}")
            )
            counted = connection.execute(
                "SELECT Difference, count(*) FROM differences GROUP BY 1 ORDER BY 1"
            ).fetchall()
        finally:
            connection.close()
    return {str(name): int(number) for name, number in counted}, rows
