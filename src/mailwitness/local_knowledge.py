"""What an organisation adds to the shipped content: watchlists and parameters, recorded so that a run can be repeated."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from mailwitness import finding_tables, own_sources, tuning
from mailwitness.content import exclusions, loader, pack
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.models import NotEvaluated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mailwitness.open_case import OpenCase
    from mailwitness.tuning import Setting

TABLE = "Watchlists"


def digest(
    base: str, watchlists: Sequence[Path], parameters: Sequence[Setting], sources: Sequence[Path] = ()
) -> str:
    """Return the digest of the content with local knowledge; the same as ``base`` where there is none.

    Args:
        base: digest of the content files and rule folders.
        watchlists: folders of watchlists.
        parameters: in the order given; the last of two equal ones is in force.
        sources: folders of own sources.
    """
    if not watchlists and not parameters and not sources:
        return base
    total = hashlib.sha256(base.encode())
    for path in exclusions.files(watchlists):
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for one in parameters:
        total.update(b"\1" + one.text().encode("utf-8", "backslashreplace"))
    for path in own_sources.files(sources):
        total.update(b"\2" + path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def present_digest(
    rules: Sequence[Path],
    watchlists: Sequence[Path],
    parameters: Sequence[Setting],
    sources: Sequence[Path] = (),
) -> str:
    """Return the digest of all content as it is now."""
    return digest(loader.digest(*rules), watchlists, parameters, sources)


def knowledge(
    rules: Sequence[Path],
    watchlists: Sequence[Path],
    parameters: Sequence[Setting],
    sources: Sequence[Path] = (),
) -> pack.Pack:
    """Return the pack of a run, its parameters set and its digest naming all that went into it.

    Raises:
        ContentError: a content file is wrong.
        ConfigError: a parameter does not exist or has another type.
    """
    plain = pack.load(*rules)
    if not watchlists and not parameters and not sources:
        return plain
    whole = digest(plain.digest, watchlists, parameters, sources)
    # A pack under its own key: the next run with the same parameters finds its translations.
    key = hashlib.sha256(f"{plain.key}|{whole}".encode()).hexdigest()
    ready = pack.ready(key)
    if ready is not None:
        return ready
    tuned, used = tuning.apply(plain.rules, parameters)
    explanations, used_too = tuning.apply(plain.explanations, parameters)
    tuning.refuse_unused(parameters, used | used_too)
    return msgspec.structs.replace(
        plain, rules=tuned, explanations=explanations, digest=whole, key=key, sql=dict(plain.sql)
    )


def put(opened: OpenCase, watchlists: Sequence[Path]) -> list[NotEvaluated]:
    """Make the table Watchlists of the rows in force, and say which rows are not used and why.

    Raises:
        ConfigError: a watchlist cannot be read.
    """
    used, refused = exclusions.read(watchlists, now=opened.now)
    opened.evidence.watchlists.update(exclusions.names(watchlists))
    columns = {c.name: DUCKDB_TYPES[c.type] for c in loader.tables()[TABLE].columns if c.name[0] != "_"}
    rows = (
        {
            "Watchlist": row.watchlist,
            "SearchKey": row.value,
            "Mailbox": row.mailbox,
            "Address": row.address,
            "Client": row.client,
            "ValidFrom": row.valid_from,
            "Expires": row.expires,
            "Reason": row.reason,
            "Owner": row.owner,
        }
        for row in used
    )
    sql = finding_tables.rows_sql(opened.work / "watchlists.jsonl", columns, rows)
    finding_tables.replace(opened.connection, TABLE, sql)
    return [
        NotEvaluated(
            what=f"{row.place} ({row.value or 'without value'})",
            reason=f"not used: {row.reason}",
            remedy=row.remedy,
        )
        for row in refused
    ]
