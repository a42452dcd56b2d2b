"""The store: acknowledged records are there once, whatever happens to the process or the disk."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mailwitness.errors import StoreDamaged, WitnessError
from mailwitness.witness import flags, segments
from mailwitness.witness.heads import Signer, is_genuine
from mailwitness.witness.keyindex import KeyIndex
from mailwitness.witness.merkle import MemoryNodes, Tree, is_included, leaf_hash
from mailwitness.witness.records import Entry, Kind, frame, parse
from mailwitness.witness.store import Store

NOW_US = 1_772_442_000_000_000


def entry(text: str, client: str = "mail", kind: Kind = Kind.SHIPPED) -> Entry:
    return Entry(kind, client, hashlib.sha256(text.encode()).digest(), text.encode())


def open_store(folder: Path, **settings: object) -> Store:
    settings.setdefault("guard", False)
    return Store(folder / "store", signer=Signer(folder / "keys"), **settings)  # type: ignore[arg-type]


def bodies(folder: Path) -> list[str]:
    return [parse(p.payload).body.decode() for p in segments.scan(folder / "store" / "segments")]


def test_what_was_stored_is_there_after_opening_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([entry(f"line {i}") for i in range(100)], now_us=NOW_US)
    head = store.head(now_us=NOW_US)
    store.close()

    again = open_store(tmp_path)

    assert again.size == 100
    assert again.tree.root().hex() == head.root
    assert is_genuine(head)
    assert parse(again.payload(42)).body == b"line 42"
    assert [parse(p).body for _, p in again.payloads(98, most=10, most_bytes=1 << 20)] == [
        b"line 98",
        b"line 99",
    ]
    again.close()


def test_the_same_key_of_a_client_is_stored_once(tmp_path: Path) -> None:
    store = open_store(tmp_path, recent=8)
    first = store.append([entry(f"line {i}") for i in range(30)], now_us=NOW_US)

    again = store.append([entry("line 3"), entry("new"), entry("new"), entry("line 29")], now_us=NOW_US)

    assert first == [(i, True) for i in range(30)]
    assert again == [(3, False), (30, True), (30, False), (29, False)]
    assert store.size == 31
    store.close()


def test_the_same_key_of_another_client_is_another_record(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    stored = store.append([entry("line"), entry("line", client="other")], now_us=NOW_US)

    assert stored == [(0, True), (1, True)]
    store.close()


def test_plain_syslog_is_never_taken_for_a_double(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    store.append([entry("same", kind=Kind.SYSLOG), entry("same", kind=Kind.SYSLOG)], now_us=NOW_US)

    assert store.size == 2
    store.close()


def test_keys_are_known_after_many_segments_and_runs(tmp_path: Path) -> None:
    store = open_store(tmp_path, segment_bytes=3000, recent=16)
    for start in range(0, 300, 7):
        store.append([entry(f"line {i}") for i in range(start, min(start + 7, 300))], now_us=NOW_US)
    store.close()

    again = open_store(tmp_path, segment_bytes=3000, recent=16)
    repeated = again.append([entry(f"line {i}") for i in range(300)], now_us=NOW_US + 1)

    assert repeated == [(i, False) for i in range(300)]
    assert len(segments.paths(tmp_path / "store" / "segments")) > 5
    assert bodies(tmp_path) == [f"line {i}" for i in range(300)]
    again.close()


def test_everything_derived_is_made_again_from_the_segments(tmp_path: Path) -> None:
    import shutil

    store = open_store(tmp_path, segment_bytes=2000, recent=16)
    for i in range(100):
        store.append([entry(f"line {i}")], now_us=NOW_US)
    root = store.tree.root()
    store.close()
    shutil.rmtree(tmp_path / "store" / "index")

    again = open_store(tmp_path, segment_bytes=2000, recent=16)

    assert (again.size, again.tree.root()) == (100, root)
    assert again.append([entry("line 7")], now_us=NOW_US) == [(7, False)]
    again.close()


@pytest.mark.parametrize("cut", [1, 5, 9, 40])
def test_a_torn_tail_is_left_where_it_is_and_not_counted(tmp_path: Path, cut: int) -> None:
    store = open_store(tmp_path)
    store.append([entry("acknowledged")], now_us=NOW_US)
    store.close()
    path = segments.path_of(tmp_path / "store" / "segments", 1)
    sound = path.read_bytes()
    path.write_bytes(sound + (b"\x00\x00\x00\x60\x12\x34\x56\x78" + b"half a record" * 8)[:cut])

    again = open_store(tmp_path)
    again.append([entry("after")], now_us=NOW_US)
    again.close()

    assert bodies(tmp_path) == ["acknowledged", "after"]
    header, _ = segments.header_of(segments.path_of(tmp_path / "store" / "segments", 2))
    assert (header.previous_end, header.previous_torn, header.first) == (len(sound), cut, 1)
    assert len(path.read_bytes()) == len(sound) + cut


def test_a_missing_acknowledged_record_is_never_taken_for_a_torn_tail(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([entry("one"), entry("two")], now_us=NOW_US)
    store.close()
    path = segments.path_of(tmp_path / "store" / "segments", 1)
    path.write_bytes(path.read_bytes()[:-3])

    with pytest.raises(StoreDamaged, match="2 records were acknowledged, and 1 are here"):
        open_store(tmp_path)


def test_a_changed_record_contradicts_the_signed_head(tmp_path: Path) -> None:
    import zlib

    store = open_store(tmp_path)
    store.append([entry("one")], now_us=NOW_US)
    store.publish(now_us=NOW_US)
    store.close()
    path = segments.path_of(tmp_path / "store" / "segments", 1)
    placed = next(iter(segments.scan(path.parent)))
    forged = placed.payload[:-3] + b"ONE"
    content = path.read_bytes()[: placed.offset] + frame(forged)
    path.write_bytes(content)
    assert zlib.crc32(forged)

    with pytest.raises(StoreDamaged, match="do not lead to the signed head"):
        open_store(tmp_path)


def test_a_missing_segment_is_noticed(tmp_path: Path) -> None:
    store = open_store(tmp_path, segment_bytes=500)
    for i in range(30):
        store.append([entry(f"line {i}")], now_us=NOW_US)
    store.close()
    segments.path_of(tmp_path / "store" / "segments", 2).unlink()

    with pytest.raises(StoreDamaged, match="segment 2 is missing"):
        open_store(tmp_path)


def test_a_byte_changed_in_a_closed_segment_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    store = open_store(tmp_path, segment_bytes=500)
    for i in range(30):
        store.append([entry(f"line {i}")], now_us=NOW_US)
    store.close()
    path = segments.path_of(tmp_path / "store" / "segments", 2)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(StoreDamaged, match="damaged behind byte"):
        bodies(tmp_path)


def test_only_one_process_writes(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    with pytest.raises(WitnessError, match="another process"):
        open_store(tmp_path)

    store.close()


def test_a_full_disk_loses_no_acknowledged_record_and_ends_with_the_fullness(tmp_path: Path) -> None:
    import resource

    store = open_store(tmp_path)
    store.append([entry("before")], now_us=NOW_US)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        for attempt in range(3):
            with pytest.raises(OSError, match="large"):
                store.append([entry(f"{attempt} {i}" + "x" * 100) for i in range(20)], now_us=NOW_US)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, was)

    repeated = store.append([entry(f"0 {i}" + "x" * 100) for i in range(20)], now_us=NOW_US)
    store.append([entry("after")], now_us=NOW_US)
    store.close()

    found = bodies(tmp_path)
    assert len(repeated) == 20
    assert found[0] == "before"
    assert found[-1] == "after"
    assert len(found) == len(set(found))
    assert {f"0 {i}" + "x" * 100 for i in range(20)} <= set(found)
    open_store(tmp_path).close()


_WRITER = """
import hashlib, sys
from pathlib import Path
from mailwitness.witness.heads import Signer
from mailwitness.witness.records import Entry, Kind
from mailwitness.witness.store import Store
folder, start = Path(sys.argv[1]), int(sys.argv[2])
store = Store(folder / "store", signer=Signer(folder / "keys"), guard=False, segment_bytes=4000, recent=64)
number = start
while True:
    texts = [f"line {number + i}" for i in range(1 + number % 9)]
    store.append([Entry(Kind.SHIPPED, "mail", hashlib.sha256(t.encode()).digest(), t.encode()) for t in texts], now_us=number)
    number += len(texts)
    print(number, flush=True)
"""


def test_thirty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - repeatable
    acknowledged = 0
    for _ in range(30):
        # Each run begins a little before what was acknowledged, as a shipper that missed the answer does.
        command = [sys.executable, "-c", _WRITER, str(tmp_path), str(max(acknowledged - 20, 0))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 40)):
                acknowledged = max(acknowledged, int(writer.stdout.readline()))
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])

    found = bodies(tmp_path)

    assert len(found) == len(set(found))
    assert {f"line {i}" for i in range(acknowledged)} <= set(found)
    store = open_store(tmp_path)
    assert store.size == len(found)
    tree = Tree(MemoryNodes())
    tree.append([leaf_hash(p.payload) for p in segments.scan(tmp_path / "store" / "segments")])
    assert tree.root() == store.tree.root()
    store.close()


def test_proofs_of_the_store_lead_to_its_head(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([entry(f"line {i}") for i in range(77)], now_us=NOW_US)
    head = store.head(now_us=NOW_US)

    path = store.tree.inclusion(33, head.size)

    assert is_included(leaf_hash(store.payload(33)), 33, 77, path, bytes.fromhex(head.root))
    store.close()


def test_the_kernel_refuses_to_change_what_is_stored(tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.touch()
    reason = flags.guard(probe, flags.APPEND_ONLY)
    flags.release(probe)
    if reason:
        pytest.skip(f"this file system or account cannot set append-only: {reason}")
    store = open_store(tmp_path, guard=True, segment_bytes=400)
    try:
        for i in range(10):
            store.append([entry(f"line {i}")], now_us=NOW_US)
        first, *_, last = segments.paths(tmp_path / "store" / "segments")

        with pytest.raises(PermissionError):
            first.unlink()
        with pytest.raises(PermissionError), first.open("ab"):
            pass
        with pytest.raises(PermissionError):
            os.truncate(last, 10)

        assert store.notes == []
    finally:
        store.close()
        for path in segments.paths(tmp_path / "store" / "segments"):
            flags.release(path)


def test_where_there_are_no_such_flags_the_reason_is_said() -> None:
    assert flags.guard(Path("/proc/self/status"), flags.APPEND_ONLY)
    assert flags.guards(Path("/proc/self/status")) == 0


def test_the_index_finds_keys_in_memory_and_in_runs_and_survives_a_cut_merge(tmp_path: Path) -> None:
    index = KeyIndex(tmp_path, size=0, recent=10)
    for number in range(95):
        index.add([number * 7919], number)
    assert index.find([7919 * 50, 7919 * 93, 1]) == [[50], [93], []]
    run = next(iter(tmp_path.glob("*.run")))
    (tmp_path / "000000000003-000000000009.run").write_bytes(run.read_bytes())

    again = KeyIndex(tmp_path, size=95, recent=10)

    assert again.covered == 90
    assert again.find([7919 * 50]) == [[50]]
    assert not (tmp_path / "000000000003-000000000009.run").exists()


def test_keys_of_the_witness_are_private_and_rotate(tmp_path: Path) -> None:
    from mailwitness.witness.heads import is_trusted

    signer = Signer(tmp_path / "keys")
    first = signer.key
    old = signer.sign(3, b"\x01" * 32, time_us=5)
    signer.rotate(time_us=6)
    signer.rotate(time_us=7)
    new = Signer(tmp_path / "keys").sign(4, b"\x02" * 32, time_us=8)

    turns = Signer(tmp_path / "keys").rotations()

    assert is_genuine(old)
    assert is_genuine(new)
    assert new.key != first
    assert is_trusted(new.key, first, new.log, turns)
    assert not is_trusted(new.key, first, new.log, turns[1:])
    assert not is_trusted(new.key, "00" * 32, new.log, turns)
    assert not is_trusted(new.key, first, "another log", turns)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").glob("*.pem")}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Signer(tmp_path / "keys")
    next((tmp_path / "keys").glob("*.pem")).chmod(0o640)

    with pytest.raises(WitnessError, match="others may read"):
        Signer(tmp_path / "keys")


@pytest.mark.parametrize("field", ["size", "root", "time_us", "log", "key", "signature"])
def test_a_head_with_anything_changed_is_not_genuine(tmp_path: Path, field: str) -> None:
    import msgspec

    head = Signer(tmp_path / "keys").sign(3, b"\x01" * 32, time_us=5)
    value = getattr(head, field)
    other = (
        value + 1 if isinstance(value, int) else "ff" + value[2:] if value[:2] != "ff" else "00" + value[2:]
    )

    assert not is_genuine(msgspec.structs.replace(head, **{field: other}))
    assert not is_genuine(msgspec.structs.replace(head, **{field: 0 if isinstance(value, int) else "no hex"}))
