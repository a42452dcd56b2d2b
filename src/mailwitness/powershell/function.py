"""The decoder as a function of SQL, so that every source's text is decoded alike."""

from __future__ import annotations

import atexit
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a connection ``mw_powershell(text, kind)``, which returns the JSON of `decode.as_json`."""
    connection.create_function("mw_powershell", _decoded, ["VARCHAR", "VARCHAR"], "VARCHAR")
    # A connection that still knows a Python function when the interpreter ends is reported as a leak on the terminal.
    atexit.register(_close, weakref.ref(connection))


def _close(reference: weakref.ref[duckdb.DuckDBPyConnection]) -> None:
    connection = reference()
    if connection is not None:
        connection.close()


def _decoded(text: str, kind: str) -> str:
    from mailwitness.powershell import decode  # noqa: PLC0415 - most runs have no PowerShell

    # SQL functions of this kind must not return null; the callers take '' for nothing.
    return decode.as_json(text, kind) or ""
