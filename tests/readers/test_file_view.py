"""Promises of the view of a file: it is what ``bytes`` would be, and a file that shrinks does no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.readers import file_view
from mailwitness.readers.file_view import FileView

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_cuts_and_finds_what_bytes_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_view, "_SEARCHED_BYTES", 3)
    content = b"ab\nabc\n\nab"
    (tmp_path / "file").write_bytes(content)
    bounds = range(len(content) + 3)

    with (tmp_path / "file").open("rb") as handle:
        view = FileView(handle)
        assert len(view) == len(content)
        for start in bounds:
            assert view[start:] == content[start:]
            for stop in bounds:
                assert view[start:stop] == content[start:stop]
                for sought in (b"\n", b"ab", b"bc\n", b"x"):
                    assert view.find(sought, start, stop) == content.find(sought, start, stop)
                    assert view.rfind(sought, start, stop) == content.rfind(sought, start, stop)


def test_a_file_that_shrinks_has_fewer_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)

    with path.open("rb") as handle:
        view = FileView(handle)
        path.write_bytes(b"y\n")

        assert view[:10] == b"y\n"
        assert view[50_000:] == b""
        assert (view.find(b"\n"), view.find(b"x"), view.rfind(b"y", 10)) == (1, -1, -1)
