"""The shipper on real files: everything once, whatever happens to files, processes, disk and network."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import gzip
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import pytest

from mailwitness.witness.config import Follow, Ship
from mailwitness.witness.observed import Observed, parse
from mailwitness.witness.records import parse as parse_record
from mailwitness.witness.ship import Shipper

from .site import COMMAND, Site, environment, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("ship")) as running:
        yield running


class Running:
    """A shipper in a thread of the test."""

    def __init__(self, site: Site, folder: Path, *follow: Follow, **settings: object) -> None:
        self.settings = site.shipper(folder, follow=list(follow), recheck_bytes=1 << 30, **settings)
        self.told: list[str] = []
        self.site = site
        self._start = site.reader().head().head.size

    def __enter__(self) -> Self:
        self.shipper = Shipper(self.settings, clock=lambda: dt.datetime.now(dt.UTC), tell=self.told.append)
        self.shipper._next["recheck"] = 0.0
        self.thread = threading.Thread(target=self.shipper.run)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shipper.stop.set()
        self.thread.join(30)

    def seen(self) -> list[Observed]:
        """Return what this shipper brought to the witness, in order."""
        return [
            o
            for o in shipped(self.site, self._start)
            if o.path.startswith(str(Path(self.settings.state).parent))
        ]

    def lines(self, name: str = "") -> list[str]:
        return [o.body.decode() for o in self.seen() if o.kind == "line" and o.path.endswith(name)]

    def kinds(self) -> Counter[str]:
        return Counter(o.kind for o in self.seen())

    def wait(self, *lines: str) -> None:
        wait_for(lambda: set(self.lines()) >= {f"{line}\n" for line in lines})


def shipped(site: Site, start: int = 0) -> list[Observed]:
    found = [parsed(content) for content in site.records(start)]
    return [o for o in found if o is not None]


@functools.lru_cache(maxsize=1 << 16)
def parsed(content: bytes) -> Observed | None:
    """Return what a record tells; while one waits for the last of many, the others are asked for again and again."""
    return parse(parse_record(content).body)


def follow(path: Path, kind: Any = "lines", **settings: Any) -> Follow:
    return Follow(kind=kind, path=str(path), **settings)


def write(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def settle(path: Path) -> None:
    """Give the followers a moment in which nothing happens."""
    time.sleep(0.15)
    assert path.parent.exists()


def test_lines_arrive_once_and_in_order(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, *(f"line {i}" for i in range(500)))
    with Running(site, tmp_path, follow(log)) as running:
        running.wait("line 499")
        write(log, *(f"line {i}" for i in range(500, 600)))
        running.wait("line 599")

    assert running.lines() == [f"line {i}\n" for i in range(600)]


def test_an_unfinished_line_waits_for_its_end(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text("first\nhalf a li")
    with Running(site, tmp_path, follow(log)) as running:
        running.wait("first")
        settle(log)
        assert running.lines() == ["first\n"]
        write(log, "ne")
        running.wait("half a line")


def test_bytes_of_any_kind_arrive_as_they_are(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    content = b"\xff\xfe\x00 zero and no text\r\n" + b"long " * 100_000 + b"\n" + b"last\n"
    log.write_bytes(content)
    with Running(site, tmp_path, follow(log)) as running:
        wait_for(lambda: b"last\n" in [o.body for o in running.seen()])

    assert b"".join(o.body for o in running.seen() if o.kind == "line") == content


def test_a_restart_ships_nothing_twice(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "one", "two")
    running = Running(site, tmp_path, follow(log))
    with running:
        running.wait("two")
    write(log, "three")
    with running:
        running.wait("three")

    assert running.lines() == ["one\n", "two\n", "three\n"]


def test_the_loss_of_all_state_ships_nothing_twice(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "one", "two")
    running = Running(site, tmp_path, follow(log))
    with running:
        running.wait("two")
    shutil.rmtree(tmp_path / "state")
    write(log, "three")
    with running:
        running.wait("three")

    assert running.lines() == ["one\n", "two\n", "three\n"]


def test_rotation_by_renaming_loses_nothing(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "before")
    with Running(site, tmp_path, follow(log)) as running:
        running.wait("before")
        writer = log.open("a", encoding="utf-8")
        log.rename(tmp_path / "mail.log.1")
        write(log, "in the new file")
        running.wait("in the new file")
        writer.write("late, into the old file\n")
        writer.close()
        running.wait("late, into the old file")

    assert len(running.lines()) == 3
    assert running.kinds()["rotated"] == 1


def test_files_rotated_twice_while_the_shipper_was_away_are_read(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(tmp_path / "mail.log.7", "older than the shipper")
    write(log, "before")
    running = Running(site, tmp_path, follow(log))
    with running:
        running.wait("before")
    log.rename(tmp_path / "mail.log.2")
    write(log, "came and went")
    (tmp_path / "mail.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    write(log, "now")
    with running:
        running.wait("came and went", "now")
    with running:
        settle(log)

    assert sorted(running.lines()) == ["before\n", "came and went\n", "now\n"]


@pytest.mark.parametrize("packed", [False, True])
def test_rotation_while_the_shipper_was_away_loses_nothing(site: Site, tmp_path: Path, packed: bool) -> None:
    log = tmp_path / "mail.log"
    write(log, "before")
    running = Running(site, tmp_path, follow(log))
    with running:
        running.wait("before")
    write(log, "while away")
    log.rename(tmp_path / "mail.log.1")
    if packed:
        (tmp_path / "mail.log.2.gz").write_bytes(gzip.compress((tmp_path / "mail.log.1").read_bytes()))
        (tmp_path / "mail.log.1").unlink()
    write(log, "in the new file")
    with running:
        running.wait("while away", "in the new file")

    assert sorted(running.lines()) == ["before\n", "in the new file\n", "while away\n"]
    assert running.kinds()["gap"] == 0


def test_a_file_that_vanished_while_the_shipper_was_away_is_a_stated_gap(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "before")
    running = Running(site, tmp_path, follow(log))
    with running:
        running.wait("before")
    os.link(log, tmp_path / "keeps the inode")
    write(log, "never seen")
    log.unlink()
    (tmp_path / "keeps the inode").rename(tmp_path / "elsewhere")
    with running:
        wait_for(lambda: running.kinds()["gap"] == 1)

    gap = next(o for o in running.seen() if o.kind == "gap")
    assert gap.facts["shipped_bytes"] == len("before\n")


def test_copytruncate_loses_nothing_and_is_reported(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "one", "two")
    running = Running(site, tmp_path, follow(log))
    with running:
        running.wait("two")
    # Written, copied and truncated between two visits.
    write(log, "just before the copy")
    shutil.copy(log, tmp_path / "mail.log.1")
    os.truncate(log, 0)
    write(log, "3")
    with running:
        running.wait("3", "just before the copy")

    assert sorted(running.lines()) == ["3\n", "just before the copy\n", "one\n", "two\n"]
    assert running.kinds()["edited"] == 1


def test_a_truncated_log_that_grew_again_loses_nothing_that_its_copy_has(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "one")
    with Running(site, tmp_path, follow(log)) as running:
        running.wait("one")
        # One look sees the log as it was, the next one copied, truncated and grown beyond its old end.
        (tmp_path / "mail.log.1").write_text("one\nonly in the copy\n")
        with log.open("r+b") as file:
            file.write(b"another\nand more\n")
        running.wait("only in the copy", "another", "and more")

    assert sorted(running.lines()) == ["and more\n", "another\n", "one\n", "only in the copy\n"]


def test_what_was_written_copied_and_truncated_between_two_looks_is_read_from_the_copy(
    site: Site, tmp_path: Path
) -> None:
    log, hidden = tmp_path / "mail.log", tmp_path / "hidden"
    write(log, "one")
    with Running(site, tmp_path, follow(log)) as running:
        running.wait("one")
        os.truncate(log, 0)
        wait_for(lambda: running.kinds()["truncated"] == 1)
        # The copy appears although nobody ever saw its lines in the log.
        write(hidden, "never seen in the log")
        hidden.rename(tmp_path / "mail.log.1")
        write(log, "two")
        running.wait("never seen in the log", "two")

    assert sorted(running.lines()) == ["never seen in the log\n", "one\n", "two\n"]


def test_truncation_while_we_look_is_reported(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "one", "two")
    with Running(site, tmp_path, follow(log)) as running:
        running.wait("two")
        os.truncate(log, 0)
        wait_for(lambda: running.kinds()["truncated"] == 1)
        write(log, "one")
        wait_for(lambda: running.lines().count("one\n") == 2)

    assert next(o for o in running.seen() if o.kind == "truncated").facts == {
        "from_byte": 0,
        "shipped_bytes": 8,
    }


def test_truncation_and_quick_growth_beyond_the_old_end_is_noticed(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "one", "two")
    running = Running(site, tmp_path, follow(log))
    with running:
        running.wait("two")
    log.write_text("".join(f"other {i}\n" for i in range(50)))
    with running:
        running.wait("other 0", "other 49")

    assert running.kinds()["edited"] == 1
    assert len(running.lines()) == 52


@pytest.mark.parametrize("where", ["beginning", "middle", "end"])
def test_editing_in_place_is_noticed_and_what_stands_there_now_is_shipped(
    site: Site, tmp_path: Path, where: str
) -> None:
    log = tmp_path / "mail.log"
    write(log, *(f"line {i:06d} of mallory" for i in range(20_000)))
    with Running(site, tmp_path, follow(log)) as running:
        running.wait("line 019999 of mallory")
        number = {"beginning": 0, "middle": 9000, "end": 19_999}[where]
        with log.open("r+b") as file:
            file.seek(number * len("line 000000 of mallory\n"))
            file.write(f"line {number:06d} of nobody".ljust(22).encode())
        wait_for(lambda: running.kinds()["edited"] == 1)
        running.wait(f"line {number:06d} of nobody".ljust(22))

    assert f"line {number:06d} of mallory\n" in running.lines()


def test_sed_in_place_is_a_removed_file_and_a_new_one(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "innocent", "mallory logged in", "more")
    with Running(site, tmp_path, follow(log)) as running:
        running.wait("more")
        subprocess.run(["sed", "-i", "/mallory/d", str(log)], check=True)
        wait_for(lambda: running.kinds()["removed"] == 1 and running.lines().count("innocent\n") == 2)

    removed = next(o for o in running.seen() if o.kind == "removed")
    assert removed.facts["shipped_bytes"] == len("innocent\nmallory logged in\nmore\n")


def test_a_deleted_file_is_read_on_while_its_writer_has_it_open(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    with log.open("a", encoding="utf-8") as writer, Running(site, tmp_path, follow(log)) as running:
        writer.write("before\n")
        writer.flush()
        running.wait("before")
        log.unlink()
        writer.write("after the deletion\n")
        writer.flush()
        running.wait("after the deletion")

    assert running.kinds()["removed"] == 1


def test_deliveries_are_shipped_as_headers_and_digests(site: Site, tmp_path: Path) -> None:
    maildir = tmp_path / "Maildir"
    for place in ("new", "cur", "tmp", ".Sent/new", ".Sent/cur"):
        (maildir / place).mkdir(parents=True)
    message = b"Message-ID: <a@contoso.example>\nSubject: Invoice\n\nsecret body\n"
    (maildir / "cur" / "1.a:2,S").write_bytes(message)
    with Running(site, tmp_path, follow(maildir, "maildir")) as running:
        wait_for(lambda: running.kinds()["message"] == 1)
        (maildir / "new" / "2.b").write_bytes(message.replace(b"<a@", b"<b@"))
        (maildir / ".Sent" / "cur" / "3.c:2,").write_bytes(message.replace(b"<a@", b"<c@"))
        wait_for(lambda: running.kinds()["message"] == 3)
        (maildir / "new" / "2.b").rename(maildir / "cur" / "2.b:2,S")
        (maildir / "cur" / "1.a:2,S").rename(maildir / "cur" / "1.a:2,RS")
        settle(maildir)
        (maildir / "cur" / "1.a:2,RS").unlink()
        wait_for(lambda: running.kinds()["message_gone"] == 1)

    first = running.seen()[0]
    import hashlib

    assert first.body == message.partition(b"secret")[0]
    assert first.facts["sha256"] == hashlib.sha256(message).hexdigest()
    assert first.facts["body_sha256"] == hashlib.sha256(b"secret body\n").hexdigest()
    assert running.kinds() == {"message": 3, "message_gone": 1}
    assert next(o for o in running.seen() if o.kind == "message_gone").file == "1.a"


def test_bodies_are_shipped_when_asked(site: Site, tmp_path: Path) -> None:
    (tmp_path / "Maildir" / "cur").mkdir(parents=True)
    (tmp_path / "Maildir" / "cur" / "1.a").write_bytes(b"Subject: x\n\nthe body\n")
    with Running(site, tmp_path, follow(tmp_path / "Maildir", "maildir", bodies=True)) as running:
        wait_for(lambda: running.kinds()["message"] == 1)

    assert running.seen()[0].body == b"Subject: x\n\nthe body\n"


def test_a_message_changed_in_place_is_shipped_again_and_a_touched_one_is_not(
    site: Site, tmp_path: Path
) -> None:
    folder = tmp_path / "Maildir" / "cur"
    folder.mkdir(parents=True)
    (folder / "1.a").write_bytes(b"Subject: x\n\nbody\n")
    (folder / "2.b").write_bytes(b"Subject: y\n\nbody\n")
    with Running(site, tmp_path, follow(tmp_path / "Maildir", "maildir")) as running:
        wait_for(lambda: running.kinds()["message"] == 2)
        os.utime(folder / "2.b", (1, 1))
        (folder / "1.a").write_bytes(b"Subject: z\n\nbody\n")
        wait_for(lambda: running.kinds()["message"] == 3)

    assert [o.file for o in running.seen()] == ["1.a", "2.b", "1.a"]


def test_messages_of_an_mbox_are_shipped_and_missed(site: Site, tmp_path: Path) -> None:
    box = tmp_path / "alice"
    one = b"From a@contoso.example Mon Mar  2 09:00:00 2026\nMessage-ID: <1@contoso.example>\n\nbody one\n\n"
    two = b"From b@contoso.example Mon Mar  2 09:01:00 2026\nMessage-ID: <2@contoso.example>\n\nbody two\n\n"
    box.write_bytes(one)
    with Running(site, tmp_path, follow(box, "mbox")) as running:
        wait_for(lambda: running.kinds()["message"] == 1)
        box.write_bytes(one.replace(b"\n\nbody", b"\nStatus: RO\n\nbody") + two)
        wait_for(lambda: running.kinds()["message"] == 2)
        box.write_bytes(two)
        wait_for(lambda: running.kinds()["message_gone"] == 1)
        os.truncate(box, 0)
        wait_for(lambda: running.kinds()["message_gone"] == 2)

    assert b"<1@contoso.example>" in running.seen()[0].body
    assert running.kinds()["message"] == 2


def test_records_of_dovecots_index_are_shipped_once(site: Site, tmp_path: Path) -> None:
    sources = sorted(Path("tests/linux/data").rglob("dovecot.index.log")) or sorted(
        Path("../shared/data/recorded").rglob("dovecot.index.log")
    )
    if not sources:
        pytest.skip("no recorded Dovecot index log at hand")
    log = tmp_path / "Maildir" / "dovecot.index.log"
    log.parent.mkdir()
    whole = sources[0].read_bytes()
    log.write_bytes(whole[: len(whole) // 8 * 4])
    running = Running(site, tmp_path, follow(tmp_path / "Maildir", "dovecot"))
    with running:
        wait_for(lambda: running.kinds()["index"] > 0)
        settle(log)
        half = running.kinds()["index"]
        log.write_bytes(whole)
        wait_for(lambda: running.kinds()["index"] > half)
    with running:
        settle(log)

    from mailwitness.readers import dovecot_index
    from mailwitness.readers.blocks import RawRecord

    expected = [r.offset for r in dovecot_index.read(log) if isinstance(r, RawRecord)]
    assert [o.offset for o in running.seen()] == expected


_JOURNALCTL = """#!/bin/sh
for argument in "$@"; do case "$argument" in --after-cursor=*) after="${argument#--after-cursor=}";; esac; done
awk -v RS= -v after="$after" 'after == "" || shown {print $0 "\\n"; fflush()} index($0, "__CURSOR=" after "\\n") == 1 {shown = 1}' "$JOURNAL_EXPORT"
exec sleep 60
"""


def test_the_journal_is_followed_from_its_cursor(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "journalctl"
    command.write_text(_JOURNALCTL)
    command.chmod(0o755)
    export = tmp_path / "export"
    monkeypatch.setenv("JOURNAL_EXPORT", str(export))
    entries = [f"__CURSOR=s=1;i={i}\n_EXE=/usr/lib/dovecot/log\nMESSAGE=expunge {i}\n" for i in range(5)]
    export.write_text("\n".join(entries[:3]))
    start = site.reader().head().head.size
    settings = site.shipper(tmp_path, follow=[Follow(kind="journal")], journalctl=(str(command),))

    def bodies() -> list[bytes]:
        return [o.body for o in shipped(site, start) if o.kind == "journal"]

    for count in (3, 5):
        export.write_text("\n".join(entries[:count]))
        shipper = Shipper(settings, clock=lambda: dt.datetime.now(dt.UTC), tell=print)
        thread = threading.Thread(target=shipper.run)
        thread.start()
        try:
            wait_for(lambda n=count: len(bodies()) == n)
        finally:
            shipper.stop.set()
            thread.join(30)

    assert bodies() == [entry.encode() for entry in entries]


def test_binary_fields_of_the_journal_do_not_end_an_entry() -> None:
    import io

    from mailwitness.witness.journal import entries

    value = b"two\n\nlines\n"
    entry = b"__CURSOR=c\nMESSAGE\n" + len(value).to_bytes(8, "little") + value + b"\nPRIORITY=6\n"

    assert list(entries(io.BytesIO(entry + b"\n" + entry + b"\n" + b"__CURSOR=cut"))) == [
        ("c", entry),
        ("c", entry),
    ]


def test_a_source_that_cannot_be_read_is_told_and_stops_no_other(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    write(log, "line")
    missing = Follow(kind="journal", path=str(tmp_path))
    with Running(site, tmp_path, missing, follow(log), journalctl=("/no/such/journalctl",)) as running:
        running.wait("line")
        assert "journalctl cannot be run" in str(running.shipper.status()["problems"])

    assert len([line for line in running.told if "journalctl" in line]) == 1


class Cable:
    """A connection between shipper and witness that can be cut."""

    def __init__(self, port: int) -> None:
        self.target, self.is_cut = port, False
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listening.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.target))
            self.ends += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while content := source.recv(65536):
                target.sendall(content)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.is_cut = True
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.ends = []

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self.cut()
        self.listening.close()


def test_a_cut_network_fills_the_queue_then_holds_and_loses_nothing(site: Site, tmp_path: Path) -> None:
    cable = Cable(site.port["https"])
    log = tmp_path / "mail.log"
    write(log, "before")
    address = f"https://127.0.0.1:{cable.port}"
    try:
        with Running(site, tmp_path, follow(log), witness=address, queue_bytes=20_000) as running:
            running.wait("before")
            cable.cut()
            for part in range(40):
                write(log, *(f"cut {part} {i} " + "x" * 100 for i in range(200)))
                time.sleep(0.01)
            wait_for(lambda: running.shipper.status()["is_held"])
            assert "reading stops" in str(running.shipper.status()["problems"])
            cable.mend()
            running.wait("cut 39 199 " + "x" * 100)
            wait_for(lambda: any(o.kind == "held" for o in shipped(site, running._start)))
    finally:
        cable.close()

    assert Counter(running.lines()) == Counter(
        ["before\n", *(f"cut {p} {i} " + "x" * 100 + "\n" for p in range(40) for i in range(200))]
    )


def test_the_canary_measures_the_delay(site: Site, tmp_path: Path) -> None:
    from mailwitness.witness.canary import measure

    with Running(site, tmp_path, canary_seconds=0.2) as running:
        wait_for(lambda: running.shipper.status()["delays"])
        delay = measure(tmp_path / "state", site.reader(), seconds=30)
        status = running.shipper.status()

    assert delay is not None
    assert 0 < delay < 30
    assert isinstance(status["delay_median"], float)
    assert (tmp_path / "state" / "status.json").exists()


def test_a_canary_without_a_shipper_does_not_arrive(site: Site, tmp_path: Path) -> None:
    from mailwitness.witness.canary import measure

    (tmp_path / "state").mkdir()

    assert measure(tmp_path / "state", site.reader(), seconds=0.3) is None


def test_a_full_disk_loses_nothing(site: Site, tmp_path: Path) -> None:
    import resource

    log = tmp_path / "mail.log"
    write(log, "before")
    settings = site.shipper(tmp_path, follow=[follow(log)])
    start = site.reader().head().head.size
    # The limit of the size of files stands for the full disk, and it holds for that process only.
    with subprocess.Popen(
        [*COMMAND, "ship", "--config", str(configure(tmp_path, settings))],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),  # noqa: PLW1509 - one thread
    ) as process:
        wait_for(lambda: b"before\n" in [o.body for o in shipped(site, start)])
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        write(log, *(f"line {i} " + "x" * 200 for i in range(3000)))
        assert process.stderr is not None
        assert "disk" in process.stderr.readline()
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_for(lambda: sum(o.path == str(log) for o in shipped(site, start)) >= 3001)
        process.terminate()

    found = [o.body.decode() for o in shipped(site, start) if o.path == str(log)]
    assert Counter(found) == Counter(["before\n", *(f"line {i} " + "x" * 200 + "\n" for i in range(3000))])


def configure(folder: Path, settings: Ship) -> Path:
    """Write the settings of a shipper as a file."""
    path = folder / "ship.toml"
    follow = settings.follow
    plain = msgspec.to_builtins(msgspec.structs.replace(settings, follow=[]))
    lines = [f"{k} = {msgspec.json.encode(v).decode()}" for k, v in plain.items() if k != "follow"]
    for each in follow:
        lines += [
            "[[follow]]",
            *(f"{k} = {msgspec.json.encode(v).decode()}" for k, v in msgspec.to_builtins(each).items()),
        ]
    path.write_text("\n".join(lines), "utf-8")
    return path


@contextlib.contextmanager
def running_shipper(command: list[str]) -> Iterator[None]:
    """Run a shipper, and end it however the block ends: one that nobody ends is waited for without end."""
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def test_kills_of_the_shipper_while_logs_rotate_lose_and_double_nothing(site: Site, tmp_path: Path) -> None:
    chance = random.Random(5)  # noqa: S311 - repeatable
    log = tmp_path / "mail.log"
    settings = site.shipper(tmp_path, follow=[follow(log)])
    command = [*COMMAND, "ship", "--config", str(configure(tmp_path, settings))]
    start = site.reader().head().head.size
    number, rotations = 0, 0
    write(log, "the beginning")
    with running_shipper(command):
        wait_for(lambda: b"the beginning\n" in [o.body for o in shipped(site, start)])
    for _ in range(8):
        with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 0.6 + chance.random()
            while time.monotonic() < end:
                write(log, *(f"line {number + i}" for i in range(50)))
                number += 50
                if chance.random() < 0.05:
                    rotations += 1
                    log.rename(tmp_path / f"mail.log.{rotations}")
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
    write(log, "the end")
    with running_shipper(command):
        wait_for(lambda: b"the end\n" in [o.body for o in shipped(site, start) if o.path == str(log)])
        wait_for(
            lambda: sum(o.kind == "line" and o.path == str(log) for o in shipped(site, start)) >= number + 1
        )

    found = Counter(o.body.decode() for o in shipped(site, start) if o.kind == "line" and o.path == str(log))
    assert rotations > 2
    assert found == Counter(["the beginning\n", "the end\n", *(f"line {i}\n" for i in range(number))])
