"""Promises of files that are made while the database reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from mailwitness.served_files import PROTOCOL, served

if TYPE_CHECKING:
    from collections.abc import Iterator

_ASKED = "SELECT a FROM read_json('{}', columns = {{'a': 'BIGINT', 'b': 'VARCHAR'}}, format = 'newline_delimited', ignore_errors = true, auto_detect = false)"


def _pieces(count: int) -> list[bytes]:
    """Return so many lines, cut where they do not end."""
    lines = b"".join(b'{"a":%d,"b":"%b"}\n' % (number, b"x" * (number % 97)) for number in range(count))
    return [lines[start : start + 50_000] for start in range(0, len(lines), 50_000)]


def test_every_line_arrives_once_and_in_order() -> None:
    pieces = _pieces(60_000)
    size = sum(map(len, pieces)) + 5000
    with duckdb.connect() as connection:
        connection.execute("SET threads = 4")
        with served(connection, size, iter(pieces)) as name:
            found = connection.execute(_ASKED.format(name)).fetchall()
        assert [one for (one,) in found] == list(range(60_000))
        # Nothing of it is left, and another one may be served.
        assert PROTOCOL not in connection.list_filesystems()
        with served(connection, 8, [b'{"a":1}\n']) as name:
            assert connection.execute(_ASKED.format(name)).fetchall() == [(1,)]


def test_what_fails_while_lines_are_made_is_what_the_reader_sees() -> None:
    def failing() -> Iterator[bytes]:
        yield from _pieces(3)
        raise PermissionError("gone")

    with (
        duckdb.connect() as connection,
        pytest.raises(PermissionError, match="gone"),
        served(connection, 1 << 20, failing()) as name,
    ):
        connection.execute(_ASKED.format(name)).fetchall()


def test_nobody_has_to_read_to_the_end() -> None:
    piece = b"".join(_pieces(10_000))
    made = 0

    def counted() -> Iterator[bytes]:
        nonlocal made
        for made in range(1, 201):  # noqa: B007 - looked at behind
            yield piece

    with duckdb.connect() as connection:
        with served(connection, 200 * len(piece), counted()) as name:
            assert connection.execute(_ASKED.format(name) + " LIMIT 1").fetchall() == [(0,)]
        assert 0 < made < 200
