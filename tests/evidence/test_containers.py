from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import lzma
import os
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwitness.evidence.containers import Limits, Member, expand, kind_of
from mailwitness.evidence.custody import CustodyLog, verify
from mailwitness.evidence.opening import Refused
from mailwitness.evidence.seal import Sealed, seal

from . import archives

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)
MIB = 1 << 20
RANDOM = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(4000))


class Bench:
    """Seal bytes as a file and expand it."""

    def __init__(self, folder: Path, log: CustodyLog) -> None:
        self.folder = folder
        self.log = log

    def expand(self, name: str, content: bytes, limits: Limits | None = None) -> list[Member | Refused]:
        (self.folder / name).write_bytes(content)
        (sealed,) = seal([self.folder / name], self.log, now=NOW)
        assert isinstance(sealed, Sealed)
        return list(expand(sealed, self.folder / "originals", limits or Limits(), self.log, now=NOW))


@pytest.fixture
def bench(tmp_path: Path, log: CustodyLog) -> Bench:
    return Bench(tmp_path, log)


def contents(found: Iterable[Member | Refused]) -> list[tuple[str, bytes]]:
    return [(one.name, one.sealed.path.read_bytes()) for one in found if isinstance(one, Member)]


def reasons(found: Iterable[Member | Refused]) -> list[tuple[str, str, bool]]:
    return [(one.display_name, one.reason, one.blocking) for one in found if isinstance(one, Refused)]


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]


@pytest.mark.parametrize("method", METHODS)
def test_members_of_a_zip_come_out_byte_for_byte_with_both_digests(bench: Bench, method: int) -> None:
    members = [("a/b.json", RANDOM), ("empty.csv", b""), ("c.csv", b"x" * 3 * MIB)]

    found = bench.expand("e.zip", archives.make_zip(*members, method=method))

    assert contents(found) == members
    for one, (name, content) in zip(found, members, strict=True):
        assert isinstance(one, Member)
        assert one.sealed.sha256.result() == hashlib.sha256(content).hexdigest()
        assert one.sealed.blake3 == blake3(content).hexdigest()
        assert one.sealed.path.name == one.sealed.sha256.result()
        assert one.sealed.display_name.endswith(f"e.zip/{name}")
        assert not one.truncated
        one.sealed.ensure_unchanged()


@pytest.mark.parametrize("suffix", sorted(archives.COMPRESS))
@pytest.mark.parametrize("content", [b"", b"x", RANDOM * 20])
def test_a_compressed_file_is_recognised_by_content_and_named_after_itself(
    bench: Bench, suffix: str, content: bytes
) -> None:
    found = bench.expand(f"audit.json.{suffix}", archives.COMPRESS[suffix](content))
    disguised = bench.expand("audit.txt", archives.COMPRESS[suffix](content))

    assert contents(found) == [("audit.json", content)]
    assert contents(disguised) == [("audit.txt", content)]


@pytest.mark.parametrize("suffix", ["", *sorted(archives.COMPRESS)])
@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_a_tar_come_out_byte_for_byte(bench: Bench, suffix: str, layout: int) -> None:
    members = [("a/b.json", RANDOM), ("empty", b""), ("d/" * 45 + "long", b"x" * 513), ("é.csv", b"y" * 512)]
    packed = archives.make_tar(*members, layout=layout)

    found = bench.expand("e.tar", archives.COMPRESS[suffix](packed) if suffix else packed)

    assert contents(found) == members
    assert reasons(found) == []


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_a_tar_are_kept(bench: Bench, layout: int) -> None:
    name = "n" * 300

    found = bench.expand("e.tar", archives.make_tar((name, b"x"), ("short", b"y"), layout=layout))

    assert contents(found) == [(name, b"x"), ("short", b"y")]


@pytest.mark.parametrize("suffix", sorted(archives.COMPRESS))
def test_streams_set_one_after_the_other_are_one_file(bench: Bench, suffix: str) -> None:
    pack = archives.COMPRESS[suffix]

    found = bench.expand("a." + suffix, pack(b"one") + pack(b"") + pack(RANDOM) + pack(b"end"))

    assert contents(found) == [("a", b"one" + RANDOM + b"end")]
    assert not reasons(found)


def test_the_name_in_a_gzip_header_wins_and_is_shown_safely(bench: Bench) -> None:
    header = b"\x1f\x8b\x08\x1c" + bytes(6) + struct.pack("<H", 5) + b"extra" + b"../a\x1b[2J.csv\0comment\0"
    packed = header + archives.COMPRESS["gz"](b"x")[10:]

    (one,) = bench.expand("other.gz", packed)

    assert isinstance(one, Member)
    assert one.name == "../a\\x1b[2J.csv"
    assert one.sealed.path.read_bytes() == b"x"
    assert any("climbs out" in note for note in one.notes)


def test_no_name_leads_writing_anywhere_and_no_content_is_lost_to_it(bench: Bench) -> None:
    names = [
        "../../x",
        "/etc/cron.d/x",
        "..\\..\\x",
        "C:\\x",
        "a/../../b",
        "n\0ul",
        "\x1b[2J",
        "<script>",
        "=cmd()",
    ]
    members = [(name, name.encode()) for name in names]
    safe = [*members[:2], *members[4:5], *members[6:]]

    before = sorted(bench.folder.parent.iterdir())
    zipped = bench.expand("e.zip", archives.make_zip(*[m for m in members if "\0" not in m[0]]))
    tarred = bench.expand("e.tar", archives.make_tar(*safe))

    assert [content for _, content in contents(zipped)] == [n.encode() for n in names if "\0" not in n]
    assert [content for _, content in contents(tarred)] == [content for _, content in safe]
    assert sorted(bench.folder.parent.iterdir()) == before
    assert {path.parent.parent for path in bench.folder.rglob("?" * 64)} == {bench.folder / "originals"}
    assert [bool(one.notes) for one in tarred if isinstance(one, Member)] == [True, True, True] + [False] * 3


def test_links_devices_and_pipes_in_a_tar_are_listed_and_the_rest_goes_on(bench: Bench) -> None:
    packed = archives.make_tar(
        ("first", b"1"),
        archives.special("link", tarfile.SYMTYPE, "/etc/shadow"),
        archives.special("hard", tarfile.LNKTYPE, "first"),
        archives.special("null", tarfile.CHRTYPE),
        archives.special("disk", tarfile.BLKTYPE),
        archives.special("pipe", tarfile.FIFOTYPE),
        archives.special("folder", tarfile.DIRTYPE),
        ("last", b"2"),
    )

    found = bench.expand("e.tar", packed)

    assert contents(found) == [("first", b"1"), ("last", b"2")]
    assert [name.rpartition("/")[2] for name, _, _ in reasons(found)] == [
        "link",
        "hard",
        "null",
        "disk",
        "pipe",
    ]
    assert not any(blocking for _, _, blocking in reasons(found))


def test_a_symbolic_link_in_a_zip_is_not_evidence(bench: Bench) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    path = bench.folder / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/shadow")

    found = bench.expand("e.zip", path.read_bytes())

    assert [(reason, blocking) for _, reason, blocking in reasons(found)] == [
        ("it is a symbolic link", False)
    ]


def test_members_of_one_name_stay_apart(bench: Bench) -> None:
    members = [("a.csv", b"1"), ("a.csv", b"2"), ("b.csv", b"1")]

    assert contents(bench.expand("e.zip", archives.make_zip(*members))) == members
    assert contents(bench.expand("e.tar", archives.make_tar(*members))) == members


def test_a_member_of_the_same_content_leaves_the_first_one_untouched(bench: Bench) -> None:
    (first,) = bench.expand("a.gz", archives.COMPRESS["gz"](RANDOM))
    (second,) = bench.expand("b.xz", archives.COMPRESS["xz"](RANDOM))

    assert isinstance(first, Member)
    assert isinstance(second, Member)
    assert first.sealed.path == second.sealed.path
    first.sealed.ensure_unchanged()


def test_a_member_that_was_changed_on_disk_is_put_right(bench: Bench) -> None:
    packed = archives.COMPRESS["gz"](RANDOM)
    (first,) = bench.expand("a.gz", packed)
    assert isinstance(first, Member)
    first.sealed.path.chmod(0o600)
    first.sealed.path.write_bytes(b"forged")

    (second,) = bench.expand("a.gz", packed)

    assert contents([second]) == [("a", RANDOM)]


def test_every_member_is_in_the_custody_log_with_its_parent_before_it_is_handed_out(bench: Bench) -> None:
    (bench.folder / "e.zip").write_bytes(archives.make_zip(*[(f"{n}", b"%d" % n) for n in range(300)]))
    (sealed,) = seal([bench.folder / "e.zip"], bench.log, now=NOW)
    assert isinstance(sealed, Sealed)

    for one in expand(sealed, bench.folder / "originals", Limits(), bench.log, now=NOW):
        assert isinstance(one, Member)
        lines = [json.loads(line) for line in bench.log.path.read_bytes().splitlines()]
        (entry,) = [line for line in lines if line["file"] == one.sealed.display_name]
        assert entry["event"] == "extracted"
        assert entry["parent_blake3"] == sealed.blake3
        assert entry["sha256"] == one.sealed.sha256.result()
    assert verify(bench.log.path).ok


def test_an_encrypted_member_is_refused_with_a_remedy_and_the_rest_is_read(bench: Bench) -> None:
    packed = bytearray(archives.make_zip(("secret.csv", b"s"), ("open.csv", b"o"), method=zipfile.ZIP_STORED))
    packed[packed.index(b"PK\1\2") + 8] |= 1

    found = bench.expand("e.zip", bytes(packed))

    assert contents(found) == [("open.csv", b"o")]
    assert reasons(found)[0][1:] == ("it is encrypted", True)
    assert next(one.remedy for one in found if isinstance(one, Refused)).startswith("Unpack")


@pytest.mark.parametrize(("method", "word"), [(9, "Deflate64"), (14, "LZMA"), (99, "AES"), (77, "method 77")])
def test_a_compression_that_cannot_be_read_is_named(bench: Bench, method: int, word: str) -> None:
    packed = bytearray(archives.make_zip(("a", b"a"), ("b", b"b")))
    packed[packed.index(b"PK\1\2") + 10] = method

    found = bench.expand("e.zip", bytes(packed))

    assert contents(found) == [("b", b"b")]
    assert word in reasons(found)[0][1]


def test_a_small_bomb_is_stopped_by_its_ratio_and_the_rest_is_read(bench: Bench) -> None:
    bomb = bytes(40 * MIB)

    for name, packed in {
        "b.zip": archives.make_zip(("bomb", bomb), ("good", b"g")),
        "b.tar.gz": archives.COMPRESS["gz"](archives.make_tar(("bomb", bomb), ("good", b"g"))),
        "b.tar.zst": archives.COMPRESS["zst"](archives.make_tar(("bomb", bomb), ("good", b"g"))),
    }.items():
        found = bench.expand(name, packed)

        assert contents(found) == [("good", b"g")], name
        assert "as a bomb does" in reasons(found)[0][1]
        assert reasons(found)[0][2]
    assert not list(bench.folder.rglob("*.tmp-*"))


@pytest.mark.parametrize("suffix", sorted(archives.COMPRESS))
def test_a_bomb_of_one_file_is_stopped(bench: Bench, suffix: str) -> None:
    found = bench.expand(f"bomb.{suffix}", archives.COMPRESS[suffix](bytes(60 * MIB)))

    assert contents(found) == []
    assert "as a bomb does" in reasons(found)[0][1]


def test_a_file_that_compresses_well_but_is_small_is_no_bomb(bench: Bench) -> None:
    found = bench.expand("a.gz", archives.gzip_of_nulls(9 * MIB))

    assert contents(found) == [("a", bytes(9 * MIB))]


def test_members_that_share_their_bytes_are_refused(bench: Bench) -> None:
    found = bench.expand("e.zip", archives.overlapping_zip())

    assert contents(found) == [("a", bytes(100_000))]
    assert ["shares its bytes" in reason for _, reason, _ in reasons(found)] == [True, True]


def test_limits_on_the_whole_archive_stop_it_and_say_so(bench: Bench) -> None:
    members = [(f"{number}", RANDOM) for number in range(10)]

    for packed in (archives.make_zip(*members), archives.make_tar(*members)):
        total = bench.expand("e", packed, Limits(total_bytes=3 * len(RANDOM)))
        count = bench.expand("e", packed, Limits(members=4))
        each = bench.expand("e", packed, Limits(member_bytes=1000))

        assert len(contents(total)) == 3
        assert "the rest was not read" in reasons(total)[-1][1]
        assert len(contents(count)) == 4
        assert "more than 4 members" in reasons(count)[-1][1]
        assert len(reasons(each)) == 10


def test_a_flood_of_links_counts_as_members(bench: Bench) -> None:
    packed = archives.make_tar(*[archives.special(f"{n}", tarfile.SYMTYPE, "x") for n in range(50)])

    assert len(bench.expand("e.tar", packed, Limits(members=20))) == 21


def test_an_archive_inside_an_archive_is_read_one_level_deep(bench: Bench) -> None:
    inner = archives.make_zip(("deep.csv", b"d"))
    packed = archives.make_tar(
        ("logs.zip", inner), ("a.json.gz", archives.COMPRESS["gz"](b"a")), ("plain", b"p")
    )

    found = bench.expand("e.tar.gz", archives.COMPRESS["gz"](packed))
    deeper = bench.expand("o.zip", archives.make_zip(("e.tar", packed)))

    assert contents(found) == [("deep.csv", b"d"), ("a.json", b"a"), ("plain", b"p")]
    assert (
        found[0].display_name
        if isinstance(found[0], Refused)
        else found[0].sealed.display_name.endswith("e.tar.gz/logs.zip/deep.csv")
    )
    assert contents(deeper) == [("plain", b"p")]
    assert ["too deep" in reason for _, reason, _ in reasons(deeper)] == [True, True]
    assert all(blocking for _, _, blocking in reasons(deeper))


def test_nesting_without_end_ends(bench: Bench) -> None:
    found = bench.expand("matryoshka.gz", archives.nested_gzip())
    deep = bench.expand("matryoshka.gz", archives.nested_gzip(), Limits(depth=100))

    assert "too deep" in reasons(found)[0][1]
    assert contents(deep)[0][1] == b"end"


def test_an_archive_that_contains_itself_is_refused(bench: Bench) -> None:
    """The fixed point of R. Cox (Zip files all the way down, 2010) is a gzip file that unpacks to itself."""
    # A real quine needs 200 hand-made bytes; what matters is that a digest met before ends the descent.
    from mailwitness.evidence.containers import _Expansion
    from mailwitness.evidence.members import Budget

    inner = archives.COMPRESS["gz"](b"x")
    (bench.folder / "o.gz").write_bytes(archives.COMPRESS["gz"](inner))
    (sealed,) = seal([bench.folder / "o.gz"], bench.log, now=NOW)
    assert isinstance(sealed, Sealed)
    expansion = _Expansion(bench.folder / "originals", Budget(Limits(depth=9)), bench.log, NOW)

    found = list(expansion.archive(sealed, (sealed.blake3, blake3(inner).hexdigest())))

    assert reasons(found)[0][1] == "it contains itself"


@pytest.mark.parametrize("suffix", sorted(archives.COMPRESS))
def test_a_compressed_file_cut_off_is_kept_as_far_as_it_goes(bench: Bench, suffix: str) -> None:
    packed = archives.COMPRESS[suffix](RANDOM * 30)

    (one,) = bench.expand(f"a.{suffix}", packed[: len(packed) * 3 // 4])

    assert isinstance(one, Member)
    content = one.sealed.path.read_bytes()
    assert one.truncated
    assert one.notes
    assert (RANDOM * 30).startswith(content)
    assert len(content) > (0 if suffix in {"bz2", "xz", "zst"} else len(RANDOM) * 20)


@pytest.mark.parametrize("damaged", ["middle", "checksum", "garbage behind"])
def test_a_damaged_gzip_is_kept_up_to_the_damage(bench: Bench, damaged: str) -> None:
    packed = bytearray(archives.COMPRESS["gz"](b"".join(b"line %d\n" % number for number in range(200_000))))
    whole = b"".join(b"line %d\n" % number for number in range(200_000))
    if damaged == "middle":
        packed[len(packed) // 2 : len(packed) // 2 + 40] = b"\xff" * 40
    elif damaged == "checksum":
        packed[-8] ^= 1
    else:
        packed += b"more"

    (one,) = bench.expand("a.gz", bytes(packed))

    assert isinstance(one, Member)
    assert one.truncated
    content = one.sealed.path.read_bytes()
    if damaged == "middle":
        assert whole[: len(whole) // 3] == content[: len(whole) // 3]
    else:
        assert content == whole


def test_a_compressed_file_without_one_readable_byte_is_refused(bench: Bench) -> None:
    (one,) = bench.expand("a.gz", archives.COMPRESS["gz"](RANDOM)[:9])

    assert isinstance(one, Refused)
    assert one.blocking


def test_a_zip_whose_end_is_cut_off_gives_its_whole_members_and_says_so(bench: Bench) -> None:
    packed = archives.make_zip(("a", b"a" * 100), ("b", RANDOM), ("c", RANDOM[::-1]))

    found = bench.expand("e.zip", packed[: -len(RANDOM) // 2 - 200])

    assert contents(found)[:2] == [("a", b"a" * 100), ("b", RANDOM)]
    last = found[-1]
    assert isinstance(last, Member)
    assert last.truncated
    assert "its end is cut off" in reasons(found)[0][1]


def test_a_zip_written_to_a_pipe_and_cut_off_gives_its_whole_members(bench: Bench) -> None:
    class Pipe:
        def __init__(self) -> None:
            self.written = b""

        def write(self, piece: bytes) -> int:
            self.written += bytes(piece)
            return len(piece)

        def flush(self) -> None:
            pass

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        archive.writestr("a", RANDOM)
        archive.writestr("b", b"b" * 1000)
        archive.writestr(zipfile.ZipInfo("stored"), b"x")
    packed = pipe.written[: pipe.written.index(b"PK\1\2")]

    found = bench.expand("e.zip", packed)

    assert contents(found) == [("a", RANDOM), ("b", b"b" * 1000)]
    assert "nothing says where it ends" in reasons(found)[1][1]


def test_a_damaged_member_of_a_zip_does_not_stop_the_others(bench: Bench) -> None:
    packed = bytearray(archives.make_zip(("a", RANDOM), ("b", b"b"), method=zipfile.ZIP_STORED))
    packed[5000] ^= 1

    found = bench.expand("e.zip", bytes(packed))

    assert [name for name, _ in contents(found)] == ["a", "b"]
    assert [one.truncated for one in found if isinstance(one, Member)] == [True, False]


def test_a_damaged_directory_of_a_zip_is_said(bench: Bench) -> None:
    packed = bytearray(archives.make_zip(("a", b"a"), ("b", b"b")))
    packed[packed.rindex(b"PK\1\2")] = 0

    found = bench.expand("e.zip", bytes(packed))

    assert contents(found) == [("a", b"a")]
    assert "members may be missing" in reasons(found)[0][1]


def test_bytes_put_before_a_zip_are_said(bench: Bench) -> None:
    hidden = archives.make_zip(("hidden", b"h"))

    found = bench.expand("e.zip", hidden + archives.make_zip(("shown", b"s")))

    assert contents(found) == [("shown", b"s")]
    assert "belong to no member" in reasons(found)[0][1]


def test_a_directory_that_lies_about_places_and_sizes_gives_reasons(bench: Bench) -> None:
    packed = bytearray(archives.make_zip(("a", b"a"), ("b", b"b"), ("c", b"c"), method=zipfile.ZIP_STORED))
    first = packed.index(b"PK\1\2")
    struct.pack_into("<L", packed, first + 42, 7)
    second = packed.index(b"PK\1\2", first + 1)
    struct.pack_into("<L", packed, second + 24, 1000)

    found = bench.expand("e.zip", bytes(packed))

    assert [name for name, _ in contents(found)] == ["b", "c"]
    assert "where its directory says" in reasons(found)[0][1]
    assert [one.truncated for one in found if isinstance(one, Member)] == [True, False]


def test_a_large_zip_with_64_bit_fields_is_read(bench: Bench) -> None:
    path = bench.folder / "made.zip"
    with (
        zipfile.ZipFile(path, "w", allowZip64=True) as archive,
        archive.open("a.csv", "w", force_zip64=True) as member,
    ):
        member.write(RANDOM)
    packed = bytearray(path.read_bytes())
    directory, end = packed.index(b"PK\1\2"), packed.index(b"PK\5\6")
    # zipfile writes wide fields only when it must, so the directory and the end are widened by hand.
    sizes = struct.unpack_from("<2L", packed, directory + 20)
    entry = bytearray(packed[directory:end])
    struct.pack_into("<2L", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, 20)
    entry += struct.pack("<2H2Q", 1, 16, sizes[1], sizes[0])
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), directory)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, directory + len(entry), 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)

    found = bench.expand("e.zip", bytes(packed[:directory]) + entry + end64 + locator + last)

    assert contents(found) == [("a.csv", RANDOM)]
    assert reasons(found) == []


def test_a_tar_with_a_damaged_header_goes_on_at_the_next_good_one(bench: Bench) -> None:
    packed = bytearray(archives.make_tar(("a", b"a"), ("b", b"b"), ("c", b"c"), layout=tarfile.USTAR_FORMAT))
    packed[1024] ^= 0xFF

    found = bench.expand("e.tar", bytes(packed))

    assert contents(found) == [("a", b"a"), ("c", b"c")]
    assert "no tar header" in reasons(found)[0][1]


@pytest.mark.parametrize("cut", [512 * 3, 512 * 3 + 100, 512 * 4, 512 * 4 + 5])
@pytest.mark.parametrize("suffix", ["", "gz"])
def test_a_tar_cut_off_is_never_taken_for_whole(bench: Bench, cut: int, suffix: str) -> None:
    packed = archives.make_tar(("a", b"a"), ("b", b"b" * 2000), layout=tarfile.USTAR_FORMAT)[:cut]

    found = bench.expand("e.tar", archives.COMPRESS[suffix](packed) if suffix else packed)

    assert contents(found)[0] == ("a", b"a")
    assert reasons(found)[-1][2]


def test_a_tar_appended_to_another_is_read_too(bench: Bench) -> None:
    packed = archives.make_tar(("a", b"a")) + archives.make_tar(("b", b"b"))

    assert contents(bench.expand("e.tar", packed)) == [("a", b"a"), ("b", b"b")]


def test_an_extended_header_of_any_size_is_not_read_into_memory(bench: Bench) -> None:
    huge = tarfile.TarInfo("x")
    huge.type, huge.size = b"x", 5 * MIB
    header = huge.tobuf(tarfile.USTAR_FORMAT)
    packed = header + bytes(5 * MIB) + archives.make_tar(("a", b"a"))

    found = bench.expand("e.tar", packed)

    assert contents(found) == [("a", b"a")]
    assert "extended header" in reasons(found)[0][1]


def test_sparse_and_continued_members_of_a_tar_are_refused_and_the_rest_is_read(bench: Bench) -> None:
    sparse = tarfile.TarInfo("sparse")
    sparse.type, sparse.size = b"S", 512
    continued = tarfile.TarInfo("continued")
    continued.type, continued.size = b"M", 1
    packed = (
        sparse.tobuf(tarfile.GNU_FORMAT)
        + b"s" * 512
        + continued.tobuf(tarfile.GNU_FORMAT)
        + b"m" * 512
        + archives.make_tar(("a", b"a"))
    )

    found = bench.expand("e.tar", packed)

    assert contents(found) == [("a", b"a")]
    assert [reason for _, reason, _ in reasons(found)] == [
        "it is stored as a sparse file",
        "it is stored as the continuation of another volume",
    ]


def test_a_tar_of_the_old_v7_format_is_recognised(bench: Bench) -> None:
    info = tarfile.TarInfo("old")
    info.size = 1
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[257:512] = bytes(255)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)

    found = bench.expand("e", bytes(block) + b"x".ljust(512, b"\0") + bytes(1024))

    assert contents(found) == [("old", b"x")]


@pytest.mark.parametrize("start", [b"Rar!\x1a\x07\x00", b"\x04\x22\x4d\x18", b"\x1f\x9d\x90", b"LZIP\x01"])
def test_an_archive_that_cannot_be_read_here_is_named(bench: Bench, start: bytes) -> None:
    (one,) = bench.expand("a.bin", start + bytes(100))

    assert isinstance(one, Refused)
    assert one.blocking
    assert "not part of mailwitness" in one.reason


def test_an_office_document_is_not_taken_for_an_archive_of_logs(bench: Bench) -> None:
    (one,) = bench.expand(
        "a.xlsx", archives.make_zip(("[Content_Types].xml", b"<x/>"), ("xl/x.xml", b"<x/>"))
    )

    assert isinstance(one, Refused)
    assert "Office" in one.reason


@pytest.mark.parametrize("content", [b"", b"PK", b"BZhello", b"{}", bytes(1024), b"\x1f\x8b"])
def test_a_file_that_is_no_archive_yields_nothing(bench: Bench, content: bytes) -> None:
    assert bench.expand("empty.zip", content) == []


def test_an_empty_archive_is_said_to_be_empty(bench: Bench) -> None:
    found = bench.expand("e.zip", archives.make_zip())

    assert [(reason, blocking) for _, reason, blocking in reasons(found)] == [("it holds no files", False)]


def test_what_macos_put_into_an_archive_is_one_remark(bench: Bench) -> None:
    members = [("a", b"a"), ("__MACOSX/._a", b"x"), ("__MACOSX/._b", b"y"), ("d/.DS_Store", b"z")]

    found = bench.expand("e.zip", archives.make_zip(*members))

    assert contents(found) == [("a", b"a")]
    assert [(reason, blocking) for _, reason, blocking in reasons(found)] == [
        ("3 files in it were made by macOS; they hold no evidence", False)
    ]


def test_an_archive_exchanged_after_sealing_is_not_read(bench: Bench) -> None:
    path = bench.folder / "e.zip"
    path.write_bytes(archives.make_zip(("a", b"a")))
    (sealed,) = seal([path], bench.log, now=NOW)
    assert isinstance(sealed, Sealed)
    path.write_bytes(archives.make_zip(("forged", b"f")))

    (one,) = expand(sealed, bench.folder / "originals", Limits(), bench.log, now=NOW)

    assert isinstance(one, Refused)
    assert "changed" in one.reason


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_changed_anywhere_never_crash_and_never_pass_for_whole(
    bench: Bench, data: st.DataObject
) -> None:
    members = [("a.csv", RANDOM[:3000]), ("b.csv", b"b" * 5000), ("c.csv", RANDOM[3000:3300])]
    kind = data.draw(st.sampled_from(["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"]))
    packed = bytearray(archives.make_zip(*members) if kind == "zip" else archives.make_tar(*members))
    if "." in kind:
        packed = bytearray(archives.COMPRESS[kind[4:]](bytes(packed)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(packed) - 1))
        packed[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))

    found = bench.expand("e", bytes(packed))

    known = {content for _, content in members}
    for one in found:
        if (
            isinstance(one, Member)
            and kind == "zip"
            and not one.truncated
            and "checksum" not in str(one.notes)
        ):
            assert one.sealed.path.read_bytes() in known


def test_extraction_killed_at_any_moment_and_repeated_gives_the_same(tmp_path: Path) -> None:
    members = [(f"{number}.csv", RANDOM[number:]) for number in range(500)]
    (tmp_path / "e.zip").write_bytes(archives.make_zip(*members, method=zipfile.ZIP_STORED))
    program = (
        "import sys, datetime as dt; from pathlib import Path\n"
        "from mailwitness.evidence.containers import Limits, expand\n"
        "from mailwitness.evidence.custody import CustodyLog\n"
        "from mailwitness.evidence.seal import seal\n"
        "from mailwitness.evidence.store import CaseFolder\n"
        "now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)\n"
        "case = CaseFolder(Path(sys.argv[1]))\n"
        "with case.lock():\n"
        "    log = CustodyLog(case.custody, now=now, tool='t', operator='o', host='h')\n"
        "    print('go', flush=True)\n"
        "    for sealed in seal([Path(sys.argv[2])], log, now=now):\n"
        "        for one in expand(sealed, case.originals, Limits(), log, now=now):\n"
        "            print(one.name, one.sealed.path.name, one.sealed.blake3)\n"
    )

    def run(case: Path, seconds: float | None) -> bytes:
        with subprocess.Popen(
            [sys.executable, "-c", program, case, tmp_path / "e.zip"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"go\n"
            if seconds is not None:
                time.sleep(seconds)
                child.send_signal(signal.SIGKILL)
            return child.stdout.read()

    expected = run(tmp_path / "clean", None)
    for number in range(8):
        run(tmp_path / "killed", 0.02 * number)
    repeated = run(tmp_path / "killed", None)

    assert repeated == expected
    assert len(expected.splitlines()) == 500
    assert verify(tmp_path / "killed" / "custody.jsonl").ok
    kept = sorted((tmp_path / "killed" / "originals").rglob("*"))
    clean = sorted((tmp_path / "clean" / "originals").rglob("*"))
    assert [path.name for path in kept] == [path.name for path in clean]
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in kept if path.is_file())


def test_the_kind_is_told_by_content(bench: Bench) -> None:
    path = bench.folder / "report.csv"
    path.write_bytes(archives.make_zip(("a", b"a")))
    (sealed,) = seal([path], bench.log, now=NOW)
    assert isinstance(sealed, Sealed)

    assert kind_of(sealed) == "zip"


def test_a_case_folder_without_room_is_said_and_leaves_no_half_member(bench: Bench) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    packed = archives.make_zip(("big", RANDOM * 40), ("small", b"s"))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(RANDOM) * 41, hard))
        (bench.folder / "e.zip").write_bytes(packed)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(RANDOM), hard))
        (sealed,) = seal([bench.folder / "e.zip"], bench.log, now=NOW)
        assert isinstance(sealed, Sealed)
        found = list(expand(sealed, bench.folder / "originals", Limits(), bench.log, now=NOW))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)

    assert contents(found) == [("small", b"s")]
    assert "no room left" in reasons(found)[0][1]
    assert not list(bench.folder.rglob("*.tmp-*"))


@pytest.mark.parametrize(("length", "is_read"), [(500_000, True), (3 * MIB, False)])
def test_a_gzip_header_of_great_length_ends_at_some_point(bench: Bench, length: int, is_read: bool) -> None:
    packed = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * length + b"\0" + archives.COMPRESS["gz"](b"x")[10:]

    (one,) = bench.expand("a.gz", packed)

    assert isinstance(one, Member) is is_read
    assert is_read or "never ends" in reasons([one])[0][1]


@pytest.mark.parametrize("suffix", sorted(archives.COMPRESS))
def test_null_bytes_behind_a_compressed_file_are_padding(bench: Bench, suffix: str) -> None:
    found = bench.expand("a." + suffix, archives.COMPRESS[suffix](b"x") + bytes(100_000))

    assert contents(found) == [("a", b"x")]
    assert [one.truncated for one in found if isinstance(one, Member)] == [False]


@pytest.mark.parametrize(("window", "suffix"), [(30, "zst"), (0, "xz")])
def test_a_file_that_asks_for_gigabytes_of_memory_is_refused(bench: Bench, window: int, suffix: str) -> None:
    if suffix == "zst":
        wide = zstandard.ZstdCompressionParameters(window_log=window, enable_ldm=True)
        made = zstandard.ZstdCompressor(compression_params=wide).compressobj()
        packed = made.compress(RANDOM) + made.flush()
    else:
        packed = lzma.compress(RANDOM, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}])

    (one,) = bench.expand("a." + suffix, packed)

    assert isinstance(one, Refused)
    assert "emory" in one.reason


def test_a_zstd_file_may_begin_with_a_skippable_frame(bench: Bench) -> None:
    packed = b"\x50\x2a\x4d\x18" + struct.pack("<L", 3) + b"abc" + archives.COMPRESS["zst"](b"x")

    assert contents(bench.expand("a.zst", packed)) == [("a", b"x")]


def test_folders_in_archives_are_not_members(bench: Bench) -> None:
    zipped = archives.make_zip(("d/", b""), ("d/a", b"a"))

    assert contents(bench.expand("e.zip", zipped)) == [("d/a", b"a")]
    assert contents(bench.expand("e.zip", zipped[: zipped.index(b"PK\1\2")])) == [("d/a", b"a")]


def test_names_that_windows_or_old_systems_wrote_are_read(bench: Bench) -> None:
    packed = bytearray(archives.make_zip(("ab\\c", b"1"), ("d\x81", b"2")))
    packed = packed.replace("d\x81".encode(), b"d\x81\x82")
    first, second = packed.index(b"PK\1\2"), packed.rindex(b"PK\1\2")
    packed[first + 5] = 0
    struct.pack_into("<H", packed, second + 8, 0)

    assert [name for name, _ in contents(bench.expand("e.zip", bytes(packed)))] == ["ab/c", "düé"]


def test_a_size_written_in_base_256_is_read(bench: Bench) -> None:
    info = tarfile.TarInfo("a")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\x80" + (5).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)

    found = bench.expand("e.tar", bytes(block) + b"12345".ljust(512, b"\0") + bytes(1024))

    assert contents(found) == [("a", b"12345")]


def test_long_link_targets_and_endless_padding_of_a_tar_do_no_harm(bench: Bench) -> None:
    packed = archives.make_tar(
        archives.special("link", tarfile.SYMTYPE, "t" * 200), ("a", b"a"), layout=tarfile.GNU_FORMAT
    )

    found = bench.expand("e.tar", packed + bytes(40 * MIB))

    assert contents(found) == [("a", b"a")]
    assert "t" * 200 in reasons(found)[0][1]
    assert len(reasons(found)) == 1


@pytest.mark.parametrize("beyond", range(1, 9))
def test_a_gzip_checksum_on_both_sides_of_a_read_is_compared(bench: Bench, beyond: int) -> None:
    plain = 65536 + beyond - 18 - 5 * 3
    content = hashlib.shake_256(b"x").digest(plain)
    packed = gzip.compress(content, compresslevel=0, mtime=0)
    content = hashlib.shake_256(b"x").digest(plain + 65536 + beyond - len(packed))
    packed = gzip.compress(content, compresslevel=0, mtime=0)
    assert len(packed) == 65536 + beyond

    assert contents(bench.expand("a.gz", packed)) == [("a", content)]
    (one,) = bench.expand("a.gz", packed[:-8] + bytes(8))
    assert isinstance(one, Member)
    assert "checksum" in str(one.notes)
