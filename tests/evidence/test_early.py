"""What is begun before a run is the same as what the run would have done."""

from __future__ import annotations

from concurrent.futures import CancelledError
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.evidence.test_seal import NOW

from mailwitness.early import Early
from mailwitness.evidence import seal
from mailwitness.evidence.opening import Found
from mailwitness.readers import index

if TYPE_CHECKING:
    from pathlib import Path

    from mailwitness.evidence.custody import CustodyLog

LINE = b'{"Operation":"HardDelete"}\r\n'


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "audit.ndjson"
    path.write_bytes(LINE * (seal.SMALL_BYTES // len(LINE) + 1))
    return path


def test_a_file_that_was_begun_is_sealed_as_any_other(tmp_path: Path, large: Path, log: CustodyLog) -> None:
    small = tmp_path / "small.ndjson"
    small.write_bytes(LINE)
    with closing(Early([small, large])) as early:
        assert list(early.measured) == [large]
        first, second = seal.seal([Found(small), Found(large)], log, now=NOW, begun=early.measured)
        assert not early.measured
        assert isinstance(first, seal.Sealed)
        assert isinstance(second, seal.Sealed)
        again = seal.rehash(large)
        assert (second.blake3, second.sha256.result(), second.size_bytes) == (
            again.blake3,
            again.sha256,
            again.size_bytes,
        )
        lines = early.lines.take(large)
        assert lines is not None
        assert lines.records.offsets.tolist() == index.index_lines(large).records.offsets.tolist()


def test_a_file_reached_through_a_folder_is_opened_with_the_care_for_folders(
    large: Path, log: CustodyLog
) -> None:
    with closing(Early([large])) as early:
        (sealed,) = seal.seal([Found(large, large.parent)], log, now=NOW, begun=early.measured)
        assert isinstance(sealed, seal.Sealed)
        assert list(early.measured) == [large]


def test_what_nobody_asks_for_any_more_stops(large: Path) -> None:
    early = Early()
    early.close()
    with pytest.raises(CancelledError):
        seal.measure(large, early._watch)


def test_nothing_that_lies_where_the_program_is_started_becomes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "no-tables" / "SigninLogs"
    planted.mkdir(parents=True)
    (planted / "x.json").write_bytes(b"no segment")
    (planted / "x.parquet").write_bytes(b"no rows")
    monkeypatch.chdir(tmp_path)

    with closing(Early()) as early:
        assert early.asking().execute("SELECT count(*) FROM SigninLogs").fetchall() == [(0,)]
