"""Promises of the CSV reader."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwitness.readers.csv_records import CsvRecords, CsvShape, index_csv, sniff_csv, unique_names

cells = st.text(st.sampled_from('ab 1,;\t|"\r\né\x00😀\u2028\x0b{}'), max_size=6)


class Table:
    """One CSV text, read; with what a test wants to look at."""

    def __init__(
        self, folder: Path, text: bytes, shape: CsvShape | None = None, stretch_bytes: int = 1 << 20
    ) -> None:
        path = folder / "input.csv"
        path.write_bytes(text)
        found = shape or sniff_csv(text)
        assert found is not None
        self.shape = found
        self.index = index_csv(path, found)
        self.originals = [self.index.read(path, record) for record in range(len(self.index))]
        self.rows: dict[int, list[str]] = {}
        self.damaged: dict[int, str] = {}
        self.notes: list[str] = []
        records = CsvRecords(path, found, stretch_bytes=stretch_bytes)
        for batch in records:
            columns = [column.to_pylist() for column in batch.rows.columns]
            for place, record in enumerate(batch.records.tolist()):
                self.rows[record] = [column[place] for column in columns]
            for damage in batch.damaged:
                self.damaged[self.index.offsets.tolist().index(damage.offset)] = damage.reason
                assert text[damage.offset : damage.offset + damage.length]
            self.notes += batch.notes
        read = records.index()
        assert read.offsets.tolist() == self.index.offsets.tolist()
        assert read.lengths.tolist() == self.index.lengths.tolist()
        assert read.lines.tolist() == self.index.lines.tolist()

    def values(self) -> list[list[str]]:
        return [self.rows[record] for record in sorted(self.rows)]


def shape_of(header: list[str], offset: int, delimiter: str = ",") -> CsvShape:
    return CsvShape(delimiter, header, has_bom=False, quote='"', data_offset=offset, data_line=2)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(cells, cells, cells), max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    cut=st.booleans(),
    stretch_bytes=st.integers(1, 40),
)
def test_rows_are_those_of_the_csv_module(
    tmp_path: Path,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    end: str,
    cut: bool,
    stretch_bytes: int,
) -> None:
    written = io.StringIO()
    # Left to itself the writer quotes a carriage return only when it is part of the line end.
    has_return = any("\r" in cell for row in rows for cell in row)
    writer = csv.writer(
        written,
        delimiter=delimiter,
        lineterminator=end,
        quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL,
    )
    writer.writerow(["x", "y", "z"])
    offset = len(written.getvalue())
    writer.writerows(rows)
    text = written.getvalue()
    text = text.removesuffix(end) if cut and rows else text

    table = Table(tmp_path, text.encode(), shape_of(["x", "y", "z"], offset, delimiter), stretch_bytes)

    assert table.damaged == {}
    assert table.values() == [list(row) for row in rows]
    starts = table.index.offsets.tolist()
    assert table.index.lines.tolist() == [text.encode().count(b"\n", 0, start) + 1 for start in starts]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.sampled_from('ab,"\r\né '), max_size=60),
    tail=st.binary(max_size=8),
    stretch_bytes=st.sampled_from([3, 20, 1000]),
)
def test_any_text_is_covered_by_records(tmp_path: Path, text: str, tail: bytes, stretch_bytes: int) -> None:
    data = text.encode() + tail

    table = Table(tmp_path, data, shape_of(["x", "y"], 0), stretch_bytes)

    assert sorted([*table.rows, *table.damaged]) == list(range(len(table.index)))
    rest = bytearray(data)
    for offset, length in zip(table.index.offsets.tolist(), table.index.lengths.tolist(), strict=True):
        rest[offset : offset + length] = b"\n" * length
    assert rest.strip(b"\r\n") == b""


AUDIT = '"{""Id"":""%d"",""Parameters"":[{""Name"":""a""}]}"'


def audit_lines(count: int) -> list[str]:
    return [f"2026-01-01,{number},{AUDIT % number}" for number in range(count)]


@pytest.mark.parametrize("size", [6, 5000])
@pytest.mark.parametrize(
    ("broken", "is_row"),
    [
        ('2026-01-01,1,"never closed', False),
        ('2026-01-01,1,"{""Id"":""1""', False),
        ('2026-01-01,1,"{""Id"":""1"', True),  # cut inside the JSON, but whole as CSV
        ('2026-01-01,1,"{"Id":"1"}"', True),
        ('2026-01-01,1,5" disk', True),
        ("2026-01-01,1", False),
        ("2026-01-01,1,2,3", False),
        ('"', False),
        ("just text", False),
    ],
)
def test_a_damaged_record_costs_no_other(tmp_path: Path, size: int, broken: str, is_row: bool) -> None:
    lines = audit_lines(size)
    lines[2] = broken

    table = Table(tmp_path, ("Date,Id,AuditData\r\n" + "\r\n".join(lines) + "\r\n").encode())

    assert len(table.index) == size
    assert table.originals[2] == broken.encode()
    assert list(table.damaged) == ([] if is_row else [2])
    assert sorted(table.rows) == [number for number in range(size) if is_row or number != 2]
    assert all(table.rows[number][1] == str(number) for number in table.rows if number != 2)


def test_one_in_ten_damaged_costs_no_other_record(tmp_path: Path) -> None:
    lines = audit_lines(3000)
    for number in range(0, 3000, 10):
        lines[number] = lines[number].removesuffix('"')

    table = Table(tmp_path, ("Date,Id,AuditData\n" + "\n".join(lines)).encode())

    assert len(table.index) == 3000
    assert sorted(table.rows) == [number for number in range(3000) if number % 10]


def test_bytes_that_are_not_utf8_are_replaced_and_noted(tmp_path: Path) -> None:
    table = Table(tmp_path, b"a,b\n1,\xff\n2,ok\n")

    assert table.values() == [["1", "�"], ["2", "ok"]]
    assert table.notes == ["record 0: bytes that are not UTF-8 were replaced"]


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    table = Table(tmp_path, b"a,b\r\n\r\n1,2\r\n\r\n\r\n3,4")

    assert table.values() == [["1", "2"], ["3", "4"]]
    assert table.index.lines.tolist() == [3, 6]


def test_a_cell_that_goes_on_behind_blank_lines_is_one_record(tmp_path: Path) -> None:
    text = b'1,2\n3,"4\n\n\n5"\n6,7\n'

    for size in range(1, len(text) + 1):
        table = Table(tmp_path, text, shape_of(["x", "y"], 0), size)
        assert table.values() == [["1", "2"], ["3", "4\n\n\n5"], ["6", "7"]]


def test_wanted_columns_only(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'a,A,b\n1,2,3\n4,5\n"6",7" x,8\n')
    shape = sniff_csv(path.read_bytes())
    assert shape is not None

    batches = list(CsvRecords(path, shape, columns=["b", "A_2"]))

    assert [batch.rows.to_pydict() for batch in batches] == [{"b": ["3", "8"], "A_2": ["2", '7" x']}]


def test_a_line_above_the_limit_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"a,b\n1,2\n3," + b'x"' * 5_000_000 + b"\r\n5,6\n")
    shape = sniff_csv(path.read_bytes()[:1000])
    assert shape is not None

    records = CsvRecords(path, shape, max_record=1_000_000)
    batches = list(records)

    assert records.index().lengths.tolist() == [3, 10_000_002, 3]
    assert [record for batch in batches for record in batch.records.tolist()] == [0, 2]
    assert [damage.offset for batch in batches for damage in batch.damaged] == [8]


@pytest.mark.parametrize(
    ("head", "delimiter", "header", "offset", "line"),
    [
        (b"a,b\n1,2\n", ",", ["a", "b"], 4, 2),
        (b'\xef\xbb\xbf"a";"b c"\r\n"1";"2"\r\n', ";", ["a", "b c"], 14, 2),
        (b"#TYPE Selected.System\r\na,b\r\n1,2\r\n", ",", ["a", "b"], 28, 3),
        (b"sep=;\r\na;b,c\r\n1;2\r\n", ";", ["a", "b,c"], 14, 3),
        (b'\n"a\nb"\tc\n1\t2\n', "\t", ["a\nb", "c"], 9, 4),
        (b"a|b|c\n1|2|3\n", "|", ["a", "b", "c"], 6, 2),
        (b"a,b", ",", ["a", "b"], 3, 2),
    ],
)
def test_the_shape_is_told_from_the_first_bytes(
    head: bytes, delimiter: str, header: list[str], offset: int, line: int
) -> None:
    shape = sniff_csv(head)

    assert shape is not None
    assert (shape.delimiter, shape.header, shape.data_offset, shape.data_line) == (
        delimiter,
        header,
        offset,
        line,
    )


@pytest.mark.parametrize(
    "head",
    [b"", b"\n", b"one column\n1\n", b'{"a":1,"b":2}\n', b'[{"a":1,"b":2}]', b"a log, line\nother\nlines\n"],
)
def test_what_is_no_csv_is_refused(head: bytes) -> None:
    assert sniff_csv(head) is None


def test_names_differ_without_regard_to_case() -> None:
    assert unique_names(["Name", "name", "", "NAME", "column_3"]) == [
        "Name",
        "name_2",
        "column_3",
        "NAME_3",
        "column_3_2",
    ]


def test_public_csv_exports_are_read_as_the_csv_module_reads_them(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared/data/public"
    if not folder.is_dir():
        pytest.skip("the public samples are not beside the repository")

    for path in sorted(folder.rglob("*.csv")):
        text = path.read_bytes()
        expected = list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")))

        table = Table(tmp_path, text)

        assert table.shape.header == expected[0]
        assert table.values() == [row for row in expected[1:] if row]
