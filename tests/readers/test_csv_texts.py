"""Promises of the bulk reader of JSON texts in CSV cells: it gives what the csv module gives, or nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwitness.readers.csv_index import CsvIndexer, index_csv
from mailwitness.readers.csv_shape import CsvShape
from mailwitness.readers.csv_texts import TextFinder, Texts

_HEADER = ["a", "AuditData", "b"]
_SHAPE = CsvShape(",", _HEADER, has_bom=False, quote='"', data_offset=0, data_line=1)
_words = st.text(st.sampled_from('ab\\"{},:[] é\u2028'), max_size=5)
_texts = st.dictionaries(_words, _words | st.lists(_words, max_size=2) | st.integers(), max_size=4).map(
    lambda record: json.dumps(record, ensure_ascii=False, separators=(",", ":"))
)
_cells = st.sampled_from(["", "x", '"x,y"', '"x""y"', '""', 'x"y'])
_noise = st.sampled_from(["", "x", '"', '",', '"x\ny"', "a,b,c", '{""', "\r", ',"{""a"":"'])


def _line(first: str, text: str, last: str, end: str) -> str:
    quoted = text.replace('"', '""')
    return f'{first},"{quoted}",{last}{end}'


_lines = st.builds(_line, _cells, _texts, _cells, st.sampled_from(["\n", "\r\n"]))


def _texts_of(found: Texts) -> list[bytes]:
    """Return the texts, and check that each record is a line that is not blank, as no other line is."""
    assert len(found.content) == len(found.data)
    lines = found.content.tobytes().split(b"\n")
    assert len(lines) == len(found.ends) + 1
    records = [line.strip() for line in lines if line.strip()]
    assert len(records) == found.count
    texts = {number: text for number, text in enumerate(records) if text != b"-"}
    assert list(texts) == found.records.tolist()
    return list(texts.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(_lines | st.builds(lambda noise: noise + "\n", _noise), min_size=1, max_size=12),
    stretch_bytes=st.sampled_from([64, 1 << 20]),
)
def test_texts_and_records_are_those_of_the_csv_module(
    tmp_path: Path, lines: list[str], stretch_bytes: int
) -> None:
    path = tmp_path / "input.csv"
    path.write_bytes("".join(lines).encode())
    finder = TextFinder(1, 3, ",")
    indexer = CsvIndexer(_SHAPE, stretch_bytes=stretch_bytes, line_ends=finder.line_ends)

    found: dict[int, bytes] = {}
    beside: dict[int, tuple[bytes, bytes]] = {}
    for stretch in indexer.stretches(path):
        texts, finder.found = finder.found, None
        if texts is not None:
            assert texts.count == stretch.last - stretch.first
            numbers = (texts.records + stretch.first).tolist()
            found |= dict(zip(numbers, _texts_of(texts), strict=True))
            others = zip(texts.cells(0), texts.cells(2), strict=True)
            beside |= dict(zip(numbers, others, strict=True))

    exact, index = index_csv(path, _SHAPE), indexer.index()
    for one, other in (
        (exact.offsets, index.offsets),
        (exact.lengths, index.lengths),
        (exact.lines, index.lines),
    ):
        assert one.tolist() == other.tolist()
    for number, text in found.items():
        row = next(csv.reader([exact.read(path, number).decode()]))
        assert json.loads(text, object_pairs_hook=list) == json.loads(row[1], object_pairs_hook=list)
        assert [cell.decode() for cell in beside[number]] == [row[0], row[2]]


def test_damaged_lines_cost_no_text_of_others() -> None:
    sound = _line("x", '{"a":"\\"","b":1}', "", "\r\n")
    cut = 'x,"{""a"":""\n'
    damaged = 'x,"{""a"":""b}",\n'
    text = f'{sound}{cut}{sound}\r\nx,y,"\n{sound}{damaged}{sound}'.encode()

    found = TextFinder(1, 3, ",").find(np.frombuffer(text, np.uint8))

    assert found is not None
    assert found.count == 7
    assert found.records.tolist() == [0, 2, 4, 5, 6]
    texts = _texts_of(found)
    assert [texts[place] for place in (0, 1, 2, 4)] == [b'{"a":"\\"","b":1}'] * 4
    assert texts[3].replace(b" ", b"") == b'{"a":"b}'
