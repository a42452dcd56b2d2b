"""The tables of a case book, in SQLite or in any database that SQLAlchemy knows by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import event

from mailwitness.errors import CaseBookError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

METADATA = sa.MetaData()

# One row for each case of an investigation; `version` grows with every change and guards against lost updates.
CASES = sa.Table(
    "cases",
    METADATA,
    sa.Column("investigation", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("first_seen", sa.String(32), nullable=False),
    sa.Column("last_seen", sa.String(32), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("assignee", sa.Text, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("is_in_report", sa.Boolean, nullable=False),
    sa.Column("findings", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

# What is to be done about a case; `known` is what the program could already say.
TASKS = sa.Table(
    "tasks",
    METADATA,
    sa.Column("investigation", sa.String(64), primary_key=True),
    sa.Column("case_id", sa.String(32), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("tier", sa.String(16), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("known", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
)

# Everything that ever happened to a case; triggers refuse to change or remove a row.
HISTORY = sa.Table(
    "history",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("investigation", sa.String(64), nullable=False, index=True),
    sa.Column("case_id", sa.String(32), nullable=False, index=True),
    sa.Column("time", sa.String(32), nullable=False),
    sa.Column("operator", sa.Text, nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("fields", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

_SQLITE_GUARDS = (
    # A transaction of SQLite has the file for itself.
    sa.text("SELECT 1"),
    *(
        sa.text(
            f"CREATE TRIGGER IF NOT EXISTS history_no_{verb} BEFORE {verb} ON history "
            "BEGIN SELECT RAISE(ABORT, 'the history of a case is append-only'); END"
        )
        for verb in ("update", "delete")
    ),
)
_POSTGRESQL_GUARDS = (
    # Two people who open the book for the first time would replace the same function at once.
    sa.text("SELECT pg_advisory_xact_lock(771070008)"),
    sa.text(
        "CREATE OR REPLACE FUNCTION history_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the history of a case is append-only'; END $$"
    ),
    sa.text(
        "CREATE OR REPLACE TRIGGER history_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON history "
        "FOR EACH STATEMENT EXECUTE FUNCTION history_is_append_only()"
    ),
)


def open_engine(url: str, folder: Path) -> sa.Engine:
    """Return an engine with all tables in place.

    Args:
        url: SQLAlchemy's database URL; empty means ``casebook.sqlite`` in the case folder.
        folder: the case folder.

    Raises:
        CaseBookError: the database cannot be opened, or its driver is missing.
    """
    shown = sa.engine.make_url(url).render_as_string(hide_password=True) if url else "casebook.sqlite"
    try:
        engine = sa.create_engine(url or sa.URL.create("sqlite", database=str(folder / "casebook.sqlite")))
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _take_turn)
        guards = {"sqlite": _SQLITE_GUARDS, "postgresql": _POSTGRESQL_GUARDS}.get(engine.dialect.name)
        if guards is None:
            raise CaseBookError(
                f"{engine.dialect.name} cannot keep an append-only history here",
                place=shown,
                remedy="Use SQLite or PostgreSQL.",
            )
        with engine.begin() as connection:
            lock, *rest = guards
            connection.execute(lock)
            METADATA.create_all(connection)
            for guard in rest:
                connection.execute(guard)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0][:200]
        raise CaseBookError(
            f"the case book cannot be opened: {reason}",
            place=shown,
            remedy="Correct the database URL, install its driver, or leave the URL out to use the case folder.",
        ) from error
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
    """Let two people write at the same time: the second waits for the first."""
    connection.execute("PRAGMA busy_timeout = 10000")
    # The driver would begin a transaction only at its first change, after what the change rests on was read.
    connection.isolation_level = None


def _take_turn(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
