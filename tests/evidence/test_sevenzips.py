"""7-Zip archives are read as streams, within the limits of all archives, and no lie in them does more than cost a member."""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.evidence.containers import Limits, Member
from mailwitness.evidence.entries import Entry
from mailwitness.evidence.sevenzips import sevenzip_entries

from . import archives, sevenzip_samples
from .sevenzip_samples import FILES, make_7z, sample
from .test_containers import Bench, contents, reasons

if TYPE_CHECKING:
    from pathlib import Path

    from mailwitness.evidence.custody import CustodyLog


@pytest.fixture
def bench(tmp_path: Path, log: CustodyLog) -> Bench:
    return Bench(tmp_path, log)


@pytest.mark.parametrize("text", sevenzip_samples.WRITTEN.values(), ids=sevenzip_samples.WRITTEN)
def test_members_come_out_byte_for_byte(bench: Bench, text: str) -> None:
    found = bench.expand("e.7z", sample(text))

    assert sorted(contents(found)) == sorted(FILES)
    assert reasons(found) == []


@pytest.mark.parametrize(("reason", "text"), sevenzip_samples.REFUSED.items())
def test_what_cannot_be_unpacked_here_is_named_with_what_to_do(bench: Bench, reason: str, text: str) -> None:
    (one,) = reasons(bench.expand("e.7z", sample(text)))

    assert one[1:] == (reason, True)


def test_a_name_that_climbs_out_leads_nowhere(bench: Bench) -> None:
    (one,) = bench.expand("e.7z", make_7z(("../../etc/passwd", b"x")))

    assert isinstance(one, Member)
    assert one.notes == ("its name climbs out of the archive with '..'",)
    assert one.sealed.path.is_relative_to(bench.folder / "originals")


def test_a_bomb_is_stopped_and_the_rest_is_read(bench: Bench) -> None:
    found = bench.expand("e.7z", make_7z(("bomb", bytes(30 << 20)), ("log", b"line\n")))

    assert contents(found) == [("log", b"line\n")]
    assert [reason for _, reason, _ in reasons(found)] == ["it swells more than 200 times, as a bomb does"]


def test_the_limits_of_archives_hold(bench: Bench) -> None:
    many = make_7z(*((f"{n}", bytes([n])) for n in range(20)))

    few = bench.expand("a.7z", many, Limits(members=5))
    small = bench.expand("b.7z", many, Limits(total_bytes=7))

    assert "more than 5 members" in reasons(few)[-1][1]
    assert len(contents(small)) == 7


def test_an_archive_inside_is_expanded_one_level(bench: Bench) -> None:
    inner = make_7z(("deep.log", b"x"))
    middle = make_7z(("inner.7z", inner), ("b.log", b"y"))

    found = bench.expand("a.zip", archives.make_zip(("middle.7z", middle), ("a.log", b"z")))

    assert contents(found) == [("b.log", b"y"), ("a.log", b"z")]
    assert [reason for _, reason, _ in reasons(found)] == [
        "it is an archive (7-Zip) inside archives, too deep"
    ]


def test_a_member_that_is_not_what_its_checksum_says_is_kept_and_said(bench: Bench) -> None:
    found = bench.expand("e.7z", make_7z(("a", b"1"), ("b", b"2"), checksums=[0, zlib.crc32(b"2")]))

    assert contents(found) == [("a", b"1"), ("b", b"2")]
    assert [one.truncated for one in found if isinstance(one, Member)] == [True, False]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_7z(("a", b"1"))[:-9], "its list of files is missing"),
        (make_7z(("a", b"1"))[:20], "its beginning is damaged"),
        (make_7z(("a", b"1"))[:-1] + b"\1", "its list of files is damaged"),
        (make_7z(("a", b"1"), start=1 << 63), "its bytes are not where"),
        (make_7z(("a", b"1"), window=40), "it asks for 4096 MiB of memory"),
        (make_7z(("a", b"1"), method=b"\x21\x77"), "it is packed with method 77"),
        (make_7z(("a", b"1"), ("b", b"2"), sizes=[1 << 60, 1]), "too large to be passed over"),
        (sevenzip_samples.wrapped(b"", b"\1\5" + sevenzip_samples.number(1 << 60)), "more than"),
        (sevenzip_samples.wrapped(b"", b"\1\4\6" + sevenzip_samples.number(0) * 2 + b"\7"), "cannot be read"),
    ],
)
def test_a_lie_costs_what_it_is_about(bench: Bench, content: bytes, reason: str) -> None:
    assert reason in " ".join(text for _, text, _ in reasons(bench.expand("e.7z", content)))


def test_an_empty_archive_is_said_to_be_empty(bench: Bench) -> None:
    empty = b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<L", zlib.crc32(bytes(20))) + bytes(20)

    assert reasons(bench.expand("e.7z", empty))[0][1:] == ("it holds no files", False)


DAMAGED = [make_7z(*FILES), *map(sample, sevenzip_samples.WRITTEN.values())]


@settings(max_examples=150, deadline=None)
@given(
    whole=st.sampled_from(DAMAGED),
    changes=st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), max_size=5),
    mends=st.booleans(),
)
def test_no_content_stops_the_reader(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, changes: list[tuple[int, int]], mends: bool
) -> None:
    content = bytearray(whole)
    for place, value in changes:
        content[place % len(content)] = value
    start = 32 + int.from_bytes(content[12:20], "little")
    if mends:
        # With checksums that are right the damage reaches what is read behind them.
        content[28:32] = struct.pack("<L", zlib.crc32(content[start:]))
        content[8:12] = struct.pack("<L", zlib.crc32(content[12:32]))
    path = tmp_path_factory.mktemp("damaged") / "e.7z"
    path.write_bytes(content)

    descriptor = os.open(path, os.O_RDONLY)
    try:
        for entry in sevenzip_entries(descriptor, 100):
            if isinstance(entry, Entry):
                assert len(b"".join(iter(lambda: entry.stream.read(4096), b""))) < 1 << 20  # noqa: B023
    finally:
        os.close(descriptor)
