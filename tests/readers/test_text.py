"""Promises of the text encodings."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwitness.readers import text as module
from mailwitness.readers.index import index_lines
from mailwitness.readers.text import detect_encoding, to_utf8

MARKS = {
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-8-sig": codecs.BOM_UTF8,
}
ENCODINGS = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "latin-1", "utf-8"]
LOG = '{"Operation":"HardDelete","User":"alice@contoso.example"}\r\n'


@pytest.mark.parametrize("encoding", list(MARKS))
def test_a_byte_order_mark_decides(encoding: str) -> None:
    assert detect_encoding(MARKS[encoding] + LOG.encode(encoding.removesuffix("-sig"))) == encoding


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_zero_bytes_decide_without_a_mark(encoding: str) -> None:
    assert detect_encoding((LOG * 3).encode(encoding)) == encoding


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b"", "utf-8"),
        (b"a", "utf-8"),
        (LOG.encode(), "utf-8"),
        ("Boîte de réception".encode(), "utf-8"),
        ("Boîte de réception".encode("latin-1"), "latin-1"),
        (LOG.encode() + b"\xff\xfe", "utf-8"),
        (b"\x00" * 100, "utf-8"),
        ("réception".encode()[:-1] + "é".encode()[:1], "utf-8"),
        (codecs.BOM_UTF16_LE + "\0abc".encode("utf-16-le"), "utf-16-le"),
    ],
)
def test_other_beginnings(head: bytes, encoding: str) -> None:
    assert detect_encoding(head) == encoding


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.text(st.characters(codec="utf-8"), max_size=60),
    encoding=st.sampled_from(ENCODINGS),
    block_bytes=st.integers(1, 50),
    has_mark=st.booleans(),
)
def test_every_character_is_found_in_the_original(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    encoding: str,
    block_bytes: int,
    has_mark: bool,
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    content = content.encode(encoding, "ignore").decode(encoding)
    mark = MARKS.get(encoding, b"") if has_mark else b""
    content = content.removeprefix("\ufeff")
    path = tmp_path / "original"
    path.write_bytes(mark + content.encode(encoding))

    offsets = to_utf8(path, tmp_path / "rewritten", encoding)

    assert (tmp_path / "rewritten").read_bytes().decode() == content
    assert offsets.replaced == 0
    for place in range(len(content) + 1):
        expected = len(mark) + len(content[:place].encode(encoding))
        assert offsets.original_offset(len(content[:place].encode())) == expected


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.lists(
        st.sampled_from([b"a\0", b"\0\xd8", b"\0\xdc", b"\xfd\xff", b"\n\0", b"x", b"\xac\x20"]), max_size=30
    ),
    encoding=st.sampled_from(ENCODINGS[:4]),
    block_bytes=st.integers(1, 20),
)
def test_damaged_text_is_rewritten_in_step_with_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: list[bytes], encoding: str, block_bytes: int
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "original"
    path.write_bytes(b"".join(raw))

    offsets = to_utf8(path, tmp_path / "rewritten", encoding)
    rewritten = (tmp_path / "rewritten").read_bytes()

    assert int(offsets.utf8[-1]) == len(rewritten)
    assert int(offsets.original[-1]) == len(path.read_bytes())
    for start, end, first in zip(offsets.original, offsets.original[1:], offsets.utf8, strict=False):
        widths = module._widths(path.read_bytes()[int(start) : int(end)], encoding)
        assert int(first) + int(widths.sum()) in offsets.utf8.tolist()


@pytest.mark.parametrize("encoding", ENCODINGS[:4])
def test_an_index_of_the_rewritten_text_becomes_one_of_the_original(tmp_path: Path, encoding: str) -> None:
    lines = ["first", "", "zweite Zeile mit Übermut", "третья 😀", "last"]
    path = tmp_path / "original"
    path.write_bytes(MARKS[encoding] + "\r\n".join(lines).encode(encoding))
    offsets = to_utf8(path, tmp_path / "rewritten", encoding)

    index = offsets.original_index(index_lines(tmp_path / "rewritten").records)

    assert [index.read(path, record).decode(encoding) for record in range(len(index))] == [
        line for line in lines if line
    ]
    assert index.lines.tolist() == [1, 3, 4, 5]


def test_what_could_not_be_read_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes("a\ufffd".encode("utf-16-le") + b"\0\xd8" + b"b\0" + b"c")

    offsets = to_utf8(path, tmp_path / "rewritten", "utf-16-le")

    assert (tmp_path / "rewritten").read_text("utf-8") == "a\ufffd\ufffdb\ufffd"
    assert offsets.replaced == 2
    assert offsets.original_offsets(np.array([0, 1, 4, 7, 8, 11], np.uint64)).tolist() == [0, 2, 4, 6, 8, 9]
