from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from mailwitness.errors import ChangedWhileRead, CustodyBroken, Unreadable
from mailwitness.evidence.custody import CustodyLog, verify
from mailwitness.evidence.opening import Found, Refused
from mailwitness.evidence.seal import SMALL_BYTES, Measured, Sealed, _finish, _measure, rehash, seal
from mailwitness.evidence.walk import collect

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)
LARGE = b"0123456789abcde\n" * (SMALL_BYTES // 16) + b"end"
NOBODY = 65534


def entries(log: CustodyLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.path.read_bytes().splitlines()]


def only(log: CustodyLog, path: Path | Found) -> Sealed:
    (sealed,) = seal([path], log, now=NOW)
    assert isinstance(sealed, Sealed)
    return sealed


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("content", [b"", b"x", LARGE[: SMALL_BYTES - 1], LARGE[:SMALL_BYTES], LARGE])
def test_both_digests_are_right_whatever_the_size(tmp_path: Path, log: CustodyLog, content: bytes) -> None:
    path = tmp_path / "audit.csv"
    path.write_bytes(content)

    sealed = only(log, path)

    assert sealed.blake3 == blake3(content).hexdigest()
    assert sealed.sha256.result() == hashlib.sha256(content).hexdigest()
    assert sealed.size_bytes == len(content)
    last = entries(log)[-1]
    assert (last["event"], last["blake3"], last["sha256"]) == (
        "sealed",
        sealed.blake3,
        sealed.sha256.result(),
    )
    assert rehash(path).sha256 == sealed.sha256.result()


def test_a_file_is_in_the_custody_log_before_anyone_gets_it(tmp_path: Path, log: CustodyLog) -> None:
    for number in range(300):
        (tmp_path / f"small-{number:03}").write_bytes(b"x" * number)
    (tmp_path / "large").write_bytes(LARGE)
    found = [one for one in collect([tmp_path], exclude=[]) if one.path != log.path]

    seen = 0
    for one in seal(found, log, now=NOW):
        assert isinstance(one, Sealed)
        logged = [entry["blake3"] for entry in entries(log) if entry["file"] == str(one.path)]
        assert logged[:1] == [one.blake3]
        seen += 1

    assert seen == 301


def test_the_line_of_a_file_is_synced_to_disk_before_the_file_is_handed_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x")
    program = (
        "import sys, os, datetime as dt; from pathlib import Path\n"
        "from mailwitness.evidence.custody import CustodyLog\n"
        "from mailwitness.evidence.seal import seal\n"
        "now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)\n"
        "log = CustodyLog(Path(sys.argv[1]), now=now, tool='t', operator='o', host='h')\n"
        "for one in seal([Path(sys.argv[2])], log, now=now): os.open('/handed-out', os.O_RDONLY)\n"
    )
    command = ["strace", "-f", "-e", "trace=write,fsync,openat", "-s", "200", "-o", str(tmp_path / "trace")]

    try:
        subprocess.run(
            [*command, sys.executable, "-c", program, tmp_path / "log", tmp_path / "a.csv"],
            check=False,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        trace = (tmp_path / "trace").read_text()
    except FileNotFoundError:
        pytest.skip("strace is not installed")

    opened = trace.index('a.csv"')
    written = trace.index('\\"event\\":\\"sealed')
    handed_out = trace.index("/handed-out")
    assert opened < written < trace.index("fsync(", written) < handed_out


def test_a_file_that_cannot_be_read_does_not_stop_the_others(shared_folder: Path, log: CustodyLog) -> None:
    for name in "abc":
        (shared_folder / name).write_text(name)
    (shared_folder / "b").chmod(0)
    (shared_folder / "locked").mkdir(mode=0)
    is_root = os.geteuid() == 0
    if is_root:  # The administrator may read everything, so the test becomes nobody for a while.
        os.seteuid(NOBODY)
    try:
        found = list(seal(collect([shared_folder]), log, now=NOW))
    finally:
        if is_root:
            os.seteuid(0)

    assert [type(one).__name__ for one in found] == ["Sealed", "Refused", "Sealed", "Refused"]
    assert [one.reason for one in found if isinstance(one, Refused)] == [
        "permission to read it is missing"
    ] * 2
    assert [entry["event"] for entry in entries(log)] == ["sealed", "refused", "sealed", "refused"]


def test_a_file_of_another_owner_is_read_without_noatime(shared_folder: Path, log: CustodyLog) -> None:
    path = shared_folder / "a.csv"
    path.write_text("x")
    path.chmod(0o644)
    if os.geteuid() != 0:
        pytest.skip("only the administrator can become another user")

    os.seteuid(NOBODY)
    try:
        sealed = only(log, path)
    finally:
        os.seteuid(0)

    assert sealed.size_bytes == 1


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="this system has no O_NOATIME")
def test_sealing_leaves_no_trace_in_the_access_time(tmp_path: Path, log: CustodyLog) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(LARGE)
    os.utime(path, ns=(1, 2))

    only(log, path).sha256.result()

    assert path.stat().st_atime_ns == 1


def test_a_large_file_changed_before_its_second_digest_is_not_sealed(tmp_path: Path, log: CustodyLog) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(LARGE)
    measured = _measure(path, 0, None)
    assert isinstance(measured, Measured)

    with path.open("r+b") as file:
        file.write(b"forged")
    # The intruder's trick: set the modification time back.
    os.utime(path, ns=(measured.stat.modified_ns, measured.stat.modified_ns))
    with pytest.raises(ChangedWhileRead):
        _finish(measured, log, NOW)
    path.unlink()
    with pytest.raises(Unreadable):
        _finish(measured, log, NOW)

    assert [entry["event"] for entry in entries(log)] == ["changed", "changed"]


@pytest.mark.parametrize("change", ["replace", "remove", "truncate"])
def test_a_sealed_file_that_is_exchanged_is_noticed(tmp_path: Path, log: CustodyLog, change: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x")
    sealed = only(log, path)
    sealed.ensure_unchanged()

    if change == "replace":
        (tmp_path / "b").write_text("x")
        (tmp_path / "b").replace(path)
    elif change == "remove":
        path.unlink()
    else:
        os.truncate(path, 0)

    with pytest.raises(ChangedWhileRead):
        sealed.ensure_unchanged()


def test_a_file_that_never_rests_is_refused(tmp_path: Path, log: CustodyLog) -> None:
    path = tmp_path / "live.log"
    path.write_bytes(LARGE * 12)
    program = "import sys\nwith open(sys.argv[1], 'ab', 0) as f:\n while True: f.write(b'x')"

    with subprocess.Popen([sys.executable, "-c", program, path]) as writer:
        while path.stat().st_size == len(LARGE) * 12:
            time.sleep(0.01)
        (one,) = seal([path], log, now=NOW)
        writer.kill()

    assert isinstance(one, Refused)
    assert "changed while it was read" in one.reason


def test_a_file_that_shrinks_while_it_is_hashed_does_not_kill_the_run(
    tmp_path: Path, log: CustodyLog
) -> None:
    path = tmp_path / "live.log"
    path.write_bytes(LARGE * 4)
    program = (
        "import sys, os\nwhile True:\n os.truncate(sys.argv[1], 4096); os.truncate(sys.argv[1], 40_000_000)"
    )

    refused = False
    with subprocess.Popen([sys.executable, "-c", program, path]) as writer:
        until = time.monotonic() + 20
        while not refused and time.monotonic() < until:
            refused = any(isinstance(one, Refused) for one in seal([path], log, now=NOW))
        writer.kill()

    assert refused


def test_a_folder_exchanged_for_a_link_after_the_walk_does_not_lead_outside(
    tmp_path: Path, log: CustodyLog
) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    (tmp_path / "in" / "b" / "a.csv").write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("secret")

    found = list(collect([tmp_path / "in"]))
    (tmp_path / "in" / "b").rename(tmp_path / "away")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "out")
    (one,) = seal(found, log, now=NOW)

    assert isinstance(one, Refused)


def test_a_file_exchanged_for_a_link_or_pipe_after_the_walk_is_refused(
    tmp_path: Path, log: CustodyLog
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("x")
    for name in "ab":
        (tmp_path / "in" / name).write_text("x")

    found = list(collect([tmp_path / "in"]))
    for name in "ab":
        (tmp_path / "in" / name).unlink()
    (tmp_path / "in" / "a").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "in" / "b")
    sealed = list(seal(found, log, now=NOW))

    assert [type(one) for one in sealed] == [Refused, Refused]


def test_a_file_the_system_makes_up_is_refused(log: CustodyLog) -> None:
    path = Path("/proc/self/maps")
    if not path.exists():
        pytest.skip("this system has no /proc")

    (one,) = seal([path], log, now=NOW)

    assert isinstance(one, Refused)


def test_rehashing_what_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unreadable) as caught:
        rehash(tmp_path / "gone")

    assert caught.value.remedy


def test_nothing_is_handed_out_when_the_custody_log_cannot_be_written(
    tmp_path: Path, log: CustodyLog
) -> None:
    (tmp_path / "a.csv").write_text("x")
    with log.path.open("ab") as other:
        other.write(b"forged\n")

    with pytest.raises(CustodyBroken):
        next(seal([tmp_path / "a.csv"], log, now=NOW))


def test_sealing_killed_at_any_moment_can_be_repeated(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    for number in range(600):
        (evidence / f"{number:04}").write_bytes(b"%d" % number * 500)
    (evidence / "large").write_bytes(LARGE)
    program = (
        "import sys, datetime as dt; from pathlib import Path\n"
        "from mailwitness.evidence.custody import CustodyLog\n"
        "from mailwitness.evidence.seal import seal\n"
        "from mailwitness.evidence.walk import collect\n"
        "now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)\n"
        "log = CustodyLog(Path(sys.argv[1]), now=now, tool='t', operator='o', host='h')\n"
        "print('go', flush=True)\n"
        "while True:\n  list(seal(collect([Path(sys.argv[2])]), log, now=now))\n"
    )

    for number in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "log", evidence],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.013 * number)
            child.send_signal(signal.SIGKILL)
    log = CustodyLog(tmp_path / "log", now=NOW, tool="t", operator="o", host="h")
    before = verify(log.path)
    sealed = [one for one in seal(collect([evidence]), log, now=NOW) if isinstance(one, Sealed)]
    digests = {one.path.name: one.sha256.result() for one in sealed}

    assert before.ok
    assert verify(log.path).ok
    assert digests == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in evidence.iterdir()
    }
    log.close()
