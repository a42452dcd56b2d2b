from __future__ import annotations

import datetime as dt
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.errors import CustodyBroken
from mailwitness.evidence.custody import FIRST, CustodyLog, verify

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def open_log(path: Path) -> CustodyLog:
    return CustodyLog(path, now=NOW, tool="mailwitness test", operator="kim", host="lab-1")


def three_lines(path: Path) -> bytes:
    log = open_log(path)
    for name in ("a.csv", "b\n\x1b[2J\u202e.csv", "c.csv"):
        log.append("received", now=NOW, file=name)
    log.close()
    return path.read_bytes()


def test_an_entry_says_who_did_what_when_and_follows_the_one_before(tmp_path: Path) -> None:
    lines = three_lines(tmp_path / "log").splitlines()

    first, second = json.loads(lines[0]), json.loads(lines[1])

    assert first["previous"] == FIRST
    assert (first["seq"], second["seq"]) == (1, 2)
    assert (first["operator"], first["host"], first["tool"]) == ("kim", "lab-1", "mailwitness test")
    assert first["time"] == "2026-03-01T09:00:00Z"
    assert second["file"] == "b\n\x1b[2J\u202e.csv"
    assert verify(tmp_path / "log").ok


def test_a_hostile_name_cannot_break_a_line_or_reach_the_terminal(tmp_path: Path) -> None:
    content = three_lines(tmp_path / "log")

    assert content.count(b"\n") == 3
    assert set(content) <= {0x0A, *range(0x20, 0x7F)}


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "log"
    content = three_lines(path)
    head = verify(path).head

    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            assert not verify(path, head=head).ok, (place, bit)
            assert not verify(path).ok, (place, bit)


def test_every_removed_or_inserted_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "log"
    content = three_lines(path)

    for place in range(len(content)):
        path.write_bytes(content[:place] + content[place + 1 :])
        assert not verify(path).ok, place
        path.write_bytes(content[:place] + b" " + content[place:])
        assert not verify(path).ok, place


@pytest.mark.parametrize(
    "order", [(0, 2), (1, 2), (0, 2, 1), (1, 0, 2), (0, 1, 1, 2), (0, 1, 2, 2), (2, 1, 0)]
)
def test_removed_doubled_and_exchanged_lines_are_found(tmp_path: Path, order: tuple[int, ...]) -> None:
    path = tmp_path / "log"
    lines = three_lines(path).splitlines(keepends=True)

    path.write_bytes(b"".join(lines[number] for number in order))

    assert not verify(path).ok


def test_lines_missing_at_the_end_are_found_by_the_head_noted_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = three_lines(path).splitlines(keepends=True)
    head = verify(path).head

    path.write_bytes(b"".join(lines[:2]))

    assert verify(path).ok
    assert not verify(path, head=head).ok


@pytest.mark.parametrize("line", [b"", b"{}\n", b"[]\n", b"null\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_a_line_of_anything_else_is_found(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log"
    content = three_lines(path)

    path.write_bytes(line + content)

    assert verify(path).ok is (line == b"")


@given(
    st.lists(st.dictionaries(st.text(min_size=1).map(lambda key: "x" + key), values, max_size=3), max_size=5)
)
@settings(max_examples=50)
def test_any_fields_make_a_log_that_verifies(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("custody") / "log"
    log = open_log(path)

    log.append_many((("received", fields) for fields in entries), now=NOW)

    report = verify(path)
    assert (report.ok, report.entries, report.head) == (True, len(entries), log.head)
    log.close()


def test_a_line_torn_at_any_place_is_kept_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    content = three_lines(path)
    second_end = content.index(b"\n", content.index(b"\n") + 1) + 1

    for cut in range(second_end + 1, len(content)):
        path.write_bytes(content[:cut])
        log = open_log(path)
        log.append("received", now=NOW, file="d.csv")
        log.close()

        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert verify(path).ok
        assert [line["event"] for line in lines] == ["received", "received", "torn", "received"]
        assert bytes.fromhex(lines[2]["bytes_hex"]) == content[second_end:cut]


def test_a_log_of_one_torn_line_only_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"half')

    log = open_log(path)

    assert verify(path).ok
    assert json.loads(path.read_bytes())["size_bytes"] == 6
    log.close()


def test_zeros_left_by_a_power_failure_are_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    content = three_lines(path)
    path.write_bytes(content + b"\0" * 5000)

    open_log(path).close()

    assert verify(path).entries == 4
    assert verify(path).ok


def test_a_log_whose_last_line_was_changed_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(three_lines(path).replace(b"c.csv", b"x.csv"))

    with pytest.raises(CustodyBroken) as caught:
        open_log(path)

    assert caught.value.remedy


def test_a_log_that_another_program_writes_to_is_not_continued(tmp_path: Path, log: CustodyLog) -> None:
    log.append("received", now=NOW)
    with (tmp_path / "custody.jsonl").open("ab") as other:
        other.write(b"forged\n")

    with pytest.raises(CustodyBroken):
        log.append("received", now=NOW)


def test_reopening_continues_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "log"
    three_lines(path)

    three_lines(path)

    assert verify(path).ok
    assert verify(path).entries == 6


def test_threads_write_one_chain(tmp_path: Path, log: CustodyLog) -> None:
    def write() -> None:
        for _ in range(20):
            log.append("received", now=NOW)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert verify(tmp_path / "custody.jsonl").entries == 80
    assert verify(tmp_path / "custody.jsonl").ok


@pytest.mark.parametrize("name", ["seq", "hash", "previous", "operator"])
def test_a_field_cannot_replace_what_the_log_says_itself(log: CustodyLog, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        log.append_many([("received", {name: "forged"})], now=NOW)


def test_a_time_without_zone_is_refused(log: CustodyLog) -> None:
    with pytest.raises(ValueError, match="time zone"):
        log.append("received", now=NOW.replace(tzinfo=None))


def test_a_log_that_is_a_link_or_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(CustodyBroken):
        open_log(tmp_path / "link")
    with pytest.raises(CustodyBroken):
        open_log(tmp_path / "no" / "folder")
    with pytest.raises(CustodyBroken):
        verify(tmp_path / "missing")


def test_a_full_disk_is_said_and_leaves_no_half_line() -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("this system has no /dev/full")
    import resource
    import signal
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        log = open_log(path)
        log.append("received", now=NOW)
        size = path.stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
            with pytest.raises(CustodyBroken):
                log.append("received", now=NOW)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, previous)
        log.append("received", now=NOW)

        assert verify(path).ok
        assert verify(path).entries == 2
        log.close()
