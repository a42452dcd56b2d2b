"""FLOOR: plain DuckDB reads the same columns of the same file, counts, and does nothing else.

    python -m bench.floor FILE --shape ndjson --threads 2

Prints one number: the records read. Everything we do is measured against this.
"""

from __future__ import annotations

import argparse
import sys

import duckdb

# The 25 columns that the questions about a mailbox cannot do without. Counting each of
# them makes DuckDB materialise all: with count(*) alone it would skip the values.
TEXTS = (
    "Id",
    "RecordType",
    "CreationTime",
    "Operation",
    "UserId",
    "UserType",
    "UserKey",
    "Workload",
    "ResultStatus",
    "ObjectId",
    "ClientIP",
    "ClientIPAddress",
    "LogonType",
    "MailboxGuid",
    "MailboxOwnerUPN",
    "ClientInfoString",
    "ClientProcessName",
    "SessionId",
    "AppId",
    "ExternalAccess",
    "CrossMailboxOperation",
    "ActorIpAddress",
)
COLUMNS = dict.fromkeys(TEXTS, "VARCHAR") | dict.fromkeys(("Parameters", "Folder", "AffectedItems"), "JSON")
# DuckDB gives up on a longer record; real ones reach a few hundred KB.
LONGEST_RECORD_BYTES = 32 * 1024 * 1024
# An array is one JSON value to DuckDB, so the limit does not apply to it.
JSON_FORMATS = {"ndjson": "newline_delimited", "array": "array"}
CSV_CELLS = {"purview-csv": 8, "search-csv": 10}


def relation(path: str, shape: str) -> tuple[str, list[str]]:
    """Return the SQL of the reader and the columns it yields."""
    name = "'" + path.replace("'", "''") + "'"
    if shape in JSON_FORMATS:
        columns = ", ".join(f"'{column}': '{kind}'" for column, kind in COLUMNS.items())
        # In an array a damaged record is fatal; only lines can be skipped.
        tolerance = ", ignore_errors = true" if shape == "ndjson" else ""
        options = f"format = '{JSON_FORMATS[shape]}', maximum_object_size = {LONGEST_RECORD_BYTES}"
        return f"read_json({name}, columns = {{{columns}}}, {options}{tolerance})", list(COLUMNS)
    cells = [f"c{number}" for number in range(CSV_CELLS[shape])]
    columns = ", ".join(f"'{cell}': 'VARCHAR'" for cell in cells)
    options = "delim = ',', quote = '\"', escape = '\"', header = true, auto_detect = false"
    options += f", max_line_size = {LONGEST_RECORD_BYTES}, ignore_errors = true, null_padding = true"
    return f"read_csv({name}, columns = {{{columns}}}, {options})", cells


def main(argv: list[str]) -> int:
    """Read the file and print how many records it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--shape", default="ndjson")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows-only", action="store_true", help="count(*): parse, but build no values")
    arguments = parser.parse_args(argv)
    source, columns = relation(arguments.file, arguments.shape)
    counted = "count(*)" if arguments.rows_only else ", ".join(f'count("{c}")' for c in columns)
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {arguments.threads}")
        row = connection.execute(f"SELECT {counted} FROM {source}").fetchone()
    print(row[0] if row else 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
