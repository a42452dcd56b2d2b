"""An input that nothing recognises is described by its first bytes, and the nearest source is named."""

from __future__ import annotations

import pytest

from mailwitness.recognise import Recogniser
from mailwitness.sources import unknown

from ..engine.cases import loaded


@pytest.mark.parametrize(
    ("content", "looks_like", "begins", "near"),
    [
        (b"ASL DB\0\0\0\0\x02", "a database of the Apple System Log", "41 53 4c 20", "no source comes near"),
        (b"\x07\x03\x78\0\x40\1", "a Dovecot index", "07 03 78 00", "no source comes near"),
        (bytes(range(256)), "binary data", "00 01 02 03", "no source comes near"),
        (b"hello there\nnothing", "text", r"hello there\x0anothing", "no source comes near"),
        (b"x\x1b[2J<b>", "text", r"x\x1b[2J<b>", "no source comes near"),
        (
            b"Nov-21-2026 mx1 dovecot imap(eva) expunge box=INBOX uid=1\n",
            "text",
            "Nov-21-2026",
            "the source Syslog files",
        ),
        (b"RecordId,CreationDate,Foo\n1,2,3\n", "a table of separated values", "RecordId", "Purview"),
        (
            b'{"CreationTime":"2026","RecordTipe":2,"Workload":"y"}\n',
            "JSON of an unknown kind",
            '{"CreationTime"',
            "the source Microsoft 365 unified audit",
        ),
    ],
    ids=["asl", "index", "binary", "text", "escape", "log", "table", "json"],
)
def test_what_nothing_recognises_is_described(
    content: bytes, looks_like: str, begins: str, near: str
) -> None:
    """The reason names the kind, the first bytes in harmless characters, and the nearest source; the outcome is not clear."""
    with loaded(content) as found:
        (stated,) = found.intake.not_evaluated

    assert stated.blocking
    assert f"it looks like {looks_like}" in stated.reason
    assert f"it begins with {begins}" in stated.reason.replace("the bytes ", "")
    assert near in stated.reason
    assert stated.reason.isprintable()


@pytest.mark.parametrize(
    "start",
    [
        b" " * 24 + b"x\n",
        b"A: b\n" + b"\t" * 24 + b"c\n",
        b"Mar  2 09:03:21 mx audispd: type=SYSCALL msg=audit(1.1:1): x\n",
        b"2026-03-02T09:14:01 ",
        b"a:b ",
        b"/ ",
    ],
)
def test_no_start_of_a_file_makes_recognition_try_for_ever(start: bytes) -> None:
    """Lines that a pattern can read in two ways are as many tries as two to the power of their number; this ends, or the test never does."""
    recogniser = Recogniser()

    for is_text in (True, False):
        recogniser.match_start((start * 200)[:8192] + b"\x01", is_text=is_text)


@pytest.mark.parametrize("content", [b'{"value":[]}', b"[]\n"])
def test_an_empty_list_is_said_to_hold_nothing(content: bytes) -> None:
    """A reply without records is neither loaded nor passed over."""
    with loaded(content) as found:
        assert [item.reason for item in found.intake.not_evaluated] == ["it holds no records"]


def test_every_text_example_is_nearest_to_its_own_source() -> None:
    """Likeness is good for something: a torn example leads back to where it came from."""
    recogniser = Recogniser()
    sources = [s for s in recogniser.sources if s.reader and s.example and "binary file" not in s.example]

    wrong = [
        source.id
        for source in sources
        if unknown.nearest(recogniser, source.example[len(source.example) // 5 :].encode())
        != f"the source {source.name}"
    ]

    assert len(wrong) <= len(sources) // 10, wrong
