"""Promises of the record index."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwitness.readers.blocks import BLANK_BYTES, blocks
from mailwitness.readers.index import (
    LineIndex,
    LineIndexer,
    LinesWhileSealing,
    RecordIndex,
    index_lines,
    needs_rewrite,
    suspicious_records,
)

DAMAGED_LINES = [
    b"\x00",
    b'{"a":"x\x00y"}',
    b'{"a":"x"}\x00',
    b'{"a":"x\ry"}',
    b'{"a":\r"x"}',
    b'{"a":"x"}\r{"a":"y"}',
    b'{"a":"x"}{"a":"y"}',
    b'{"a":"x"},{"a":"y"},',
    b'[{"a":"x"},{"a":"y"}]',
    b"[]",
    b"{}",
    b"5",
    b'"text"',
    b"null",
    b"true",
    b"NaN",
    b"plain text",
    b"{",
    b"}",
    b"]",
    b'"',
    b"\\",
    b'{"a":"x',
    b'{"a":"x"}}',
    b'{"a":"\\ud800"}',
    b'{"a":"\xff\xfe"}',
    b'{"\xff":1,"a":"x"}',
    b'{"a":"x","a":"y"}',
    b'{"a":1e999}',
    b'{"a":{"z":1}}',
    b"// remark",
    b"\xef\xbb\xbf",
    b'\xef\xbb\xbf{"a":"x"}',
    b"\xc2\xa0",
    b"\xc2\x85",
    b"\x1c",
    b"\x1a",
    b"[" * 3000,
    b'{"a":"x","z":' + b"[" * 3000 + b"]" * 3000 + b"}",
]
BLANK_LINES = [b"", b" ", b"\t", b"\r", b"\v", b"\f", b" \t\v\f\r", b" " * 200]


def number_of_duckdb_rows(path: Path) -> list[str | None]:
    """Read as the loader does: explicit columns, damage ignored, rows in file order."""
    with duckdb.connect() as database:
        database.execute("set threads = 2")
        database.execute(
            "create temp table t as select a, b from read_json(?, format = 'newline_delimited', "
            "ignore_errors = true, records = true, columns = {a: 'VARCHAR', b: 'BIGINT'})",
            [str(path)],
        )
        return [row[0] for row in database.execute("select a from t order by rowid").fetchall()]


def lines_by_splitting(text: bytes) -> list[tuple[int, int, int]]:
    """Return (offset, length, line) of each non-blank line, the slow and certain way."""
    found = []
    offset = 0
    for number, line in enumerate(text.split(b"\n"), start=1):
        if line.strip(BLANK_BYTES):
            found.append((offset, len(line.removesuffix(b"\r")), number))
        offset += len(line) + 1
    return found


def triples(index: RecordIndex) -> list[tuple[int, int, int]]:
    return list(zip(index.offsets.tolist(), index.lengths.tolist(), index.lines.tolist(), strict=True))


@pytest.mark.parametrize("line", DAMAGED_LINES + BLANK_LINES, ids=lambda line: repr(line[:20]))
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_the_row_number_of_duckdb_is_the_record_number_for_every_kind_of_line(
    tmp_path: Path, line: bytes, end: bytes
) -> None:
    path = tmp_path / "lines.json"
    path.write_bytes(end.join([b'{"a":"first"}', line, b'{"a":"middle"}', line, b'{"a":"last"}']))

    rows = number_of_duckdb_rows(path)
    records = index_lines(path).records

    assert len(records) == len(rows)
    for record, value in enumerate(rows):
        if value in {"first", "middle", "last"}:
            assert records.read(path, record) == f'{{"a":"{value}"}}'.encode()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.one_of(
            st.sampled_from(DAMAGED_LINES + BLANK_LINES),
            st.integers(0, 999).map(lambda number: b'{"a":"good%d"}' % number),
            st.binary(max_size=12),
        ),
        max_size=40,
    ),
    end=st.sampled_from([b"\n", b"\r\n"]),
    tail=st.sampled_from([b"", b"\n", b"\r\n\r\n", b"  "]),
)
def test_rows_and_records_agree_for_any_mixture(
    tmp_path: Path, lines: list[bytes], end: bytes, tail: bytes
) -> None:
    path = tmp_path / "mixture.json"
    path.write_bytes(end.join(lines) + tail)

    rows = number_of_duckdb_rows(path)
    index = index_lines(path)
    records = index.records

    if needs_rewrite(path, index):  # a file of one byte
        assert len(rows) == 0
        return
    assert len(records) == len(rows)
    for record, value in enumerate(rows):
        if value is not None and value.startswith("good"):
            assert f'"{value}"'.encode() in records.read(path, record)


@settings(max_examples=300, deadline=None)
@given(text=st.text("ab \t\r\n\v\f\x00é", max_size=200), size=st.integers(1, 40))
def test_blocks_of_any_size_give_the_same_index(text: str, size: int) -> None:
    data = text.encode()
    indexer = LineIndexer()

    for start in range(0, len(data), size):
        indexer.feed(data[start : start + size])
    index = indexer.finish()

    assert triples(index.records) == lines_by_splitting(data)
    assert index.lines == len(data.removesuffix(b"\n").split(b"\n")) * bool(data)
    assert index.blank + len(index.records) == index.lines


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text('{"a"}: \n\r\té', max_size=300), size=st.integers(1, 90))
def test_what_was_indexed_while_sealing_is_the_index_of_the_file(
    tmp_path: Path, text: str, size: int
) -> None:
    data = b"{" + text.encode()
    path = tmp_path / "log.json"
    path.write_bytes(data)
    lines = LinesWhileSealing()
    feed = lines.watch(path)
    for start in range(0, len(data), size):
        feed(memoryview(data)[start : start + size])

    found = lines.take(path)

    assert found is not None
    expected = index_lines(path)
    assert triples(found.records) == triples(expected.records)
    assert (found.lines, found.blank, found.longest) == (expected.lines, expected.blank, expected.longest)
    assert lines.take(path) is None


@pytest.mark.parametrize("start", [b"[{}]\n", b"PAR1", b"", b"Date,User\n"])
def test_only_json_lines_are_indexed_while_sealing(tmp_path: Path, start: bytes) -> None:
    lines = LinesWhileSealing()
    lines.watch(tmp_path)(memoryview(start))

    assert lines.take(tmp_path) is None


def test_a_file_that_is_sealed_again_is_indexed_anew(tmp_path: Path) -> None:
    lines = LinesWhileSealing()
    lines.watch(tmp_path)(memoryview(b"{}\n{}\n"))
    lines.watch(tmp_path)(memoryview(b"{}\n"))

    found = lines.take(tmp_path)

    assert found is not None
    assert len(found.records) == 1


def test_too_many_waiting_lines_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailwitness.readers.index.MOST_LINES_WHILE_SEALING", 3)
    lines = LinesWhileSealing()
    feed = lines.watch(tmp_path)
    feed(memoryview(b"{}\n{}\n{}\n"))
    feed(memoryview(b"{}\n"))
    feed(memoryview(b"{}\n"))

    assert lines.take(tmp_path) is None


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")

    index = index_lines(path)

    assert index == LineIndex(index.records, 0, 0, 0, has_bom=False)


def test_a_saved_index_reads_the_exact_bytes_of_each_record(tmp_path: Path) -> None:
    path = tmp_path / "some.log"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\n  \n two \nthree")
    index = index_lines(path)

    index.records.save(tmp_path / "some.npy")
    loaded = RecordIndex.load(tmp_path / "some.npy")

    assert index.has_bom
    assert [loaded.read(path, record) for record in range(3)] == [b"\xef\xbb\xbfone", b" two ", b"three"]
    assert loaded.read(path, 2, limit=2) == b"th"
    assert loaded.locate(2).line == 5
    assert [entry.name for entry in tmp_path.glob("some.npy*")] == ["some.npy"]


@pytest.mark.parametrize("record", [-1, 1])
def test_a_record_outside_the_index_is_refused(tmp_path: Path, record: int) -> None:
    path = tmp_path / "one"
    path.write_bytes(b"one")

    with pytest.raises(IndexError):
        index_lines(path).records.locate(record)


def test_only_lines_above_the_limit_must_be_kept_from_duckdb(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"short\n" + b"x" * 50 + b"\n\n" + b"y" * 20 + b"\n")
    index = index_lines(path)

    assert suspicious_records(path, index, limit=20) == [1]
    assert needs_rewrite(path, index, limit=49)
    assert not needs_rewrite(path, index, limit=50)


@pytest.mark.parametrize("byte", [b"\0", b"5", b"{", b"x"])
def test_a_file_of_one_byte_must_be_kept_from_duckdb(tmp_path: Path, byte: bytes) -> None:
    path = tmp_path / "byte"
    path.write_bytes(byte)

    assert suspicious_records(path, index_lines(path)) == [0]
    assert number_of_duckdb_rows(path) == []


def test_offsets_beyond_four_gigabytes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.seek(5_000_000_000)
        stream.write(b"\nend\n")
    index = RecordIndex(
        np.array([5_000_000_001], np.uint64), np.array([3], np.uint64), np.array([2], np.uint64)
    )

    assert index.read(path, 0) == b"end"


def test_blocks_are_the_file_in_order(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 10)

    assert b"".join(blocks(path, 100)) == path.read_bytes()
