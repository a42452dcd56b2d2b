"""What an intruder with root, and with the shipper's own keys, cannot hide any more."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwitness.errors import StoreDamaged, WitnessError
from mailwitness.witness import proofs, segments, targets
from mailwitness.witness.alignment import align, pair
from mailwitness.witness.compare import compare_journal
from mailwitness.witness.config import Follow
from mailwitness.witness.held import Held, LocalSource, RemoteSource
from mailwitness.witness.observed import Observed
from mailwitness.witness.ship import Shipper

from .site import COMMAND, Site, environment, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.witness.compare import Comparison

texts = st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"g"]), max_size=25)


@given(texts, texts)
def test_stretches_cover_both_texts_in_order(first: list[bytes], second: list[bytes]) -> None:
    a = b = 0
    for part in align(first, second):
        assert (part.a, part.b) == (a, b)
        if part.is_same:
            assert first[part.a : part.a_end] == second[part.b : part.b_end]
        a, b = part.a_end, part.b_end

    assert (a, b) == (len(first), len(second))


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=200), st.data())
def test_removed_lines_are_found_exactly(numbers: list[int], data: st.DataObject) -> None:
    first = [str(n).encode() for n in numbers]
    removed = data.draw(st.sets(st.sampled_from(range(len(first))))) if first else set()
    second = [line for i, line in enumerate(first) if i not in removed]

    found = {i for part in align(first, second) if not part.is_same for i in range(part.a, part.a_end)}

    assert found == removed


def test_a_large_log_is_aligned_in_linear_effort() -> None:
    first = [f"{i} line".encode() for i in range(200_000)]
    second = [line for i, line in enumerate(first) if i % 1000]

    assert sum(part.a_end - part.a for part in align(first, second) if not part.is_same) == 200


def test_lines_that_are_alike_are_one_altered_line() -> None:
    before = [b"09:00 imap(eva): expunge uid=7 by mallory", b"something else altogether"]
    after = [b"09:00 imap(eva): expunge uid=7 by backup0"]

    assert pair(before, after) == [(0, 0)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("compare")) as running:
        yield running


class Host:
    """A mail host in a folder: a log, a Maildir and an mbox, shipped under the name mail."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.log, self.maildir, self.mbox = folder / "mail.log", folder / "Maildir", folder / "alice"
        for place in ("new", "cur", ".Sent/new", ".Sent/cur"):
            (self.maildir / place).mkdir(parents=True)
        self.log.write_text(
            "".join(f"2026-03-02T09:{i // 60:02}:{i % 60:02}Z mail dovecot: line {i}\n" for i in range(300))
        )
        for i in range(5):
            (self.maildir / "cur" / f"{i}.host:2,S").write_bytes(self.message(i))
        self.mbox.write_bytes(
            b"".join(b"From x Mon Mar  2 09:00:00 2026\n" + self.message(i) + b"\n" for i in (7, 8, 9))
        )
        follow = [
            Follow(kind="lines", path=str(self.log)),
            Follow(kind="maildir", path=str(self.maildir)),
            Follow(kind="mbox", path=str(self.mbox)),
        ]
        self.settings = site.shipper(folder, follow=follow)

    @staticmethod
    def message(number: int) -> bytes:
        return (
            f"Message-ID: <{number}@contoso.example>\nSubject: Invoice {number}\n\nbody {number}\n".encode()
        )

    def ship(self, seconds_quiet: float = 0.6) -> None:
        shipper = Shipper(self.settings, clock=lambda: dt.datetime.now(dt.UTC), tell=print)
        thread = threading.Thread(target=shipper.run)
        thread.start()
        try:
            before = -1
            while before != (before := self.site.reader().head().head.size) or shipper.spool.waiting_records:
                shipper.stop.wait(seconds_quiet)
        finally:
            shipper.stop.set()
            thread.join(30)

    def compared(self, target: Path) -> Comparison:
        held = Held(RemoteSource(self.site.reader(), self.site.pinned), "mail")
        found = targets.compare(held, target)
        return found[0] if len(found) == 1 else next(c for c in found if c.path == str(target))


@pytest.fixture
def host(site: Site, tmp_path: Path) -> Host:
    return Host(site, tmp_path)


def kinds(comparison: Comparison) -> list[str]:
    return [difference.what for difference in comparison.differences]


def test_a_host_that_was_not_touched_differs_in_nothing(host: Host) -> None:
    host.ship()

    log, mail, box = (host.compared(path) for path in (host.log, host.maildir, host.mbox))

    assert [(c.held, c.same, c.new, c.differences) for c in (log, mail, box)] == [
        (300, 300, 0, []),
        (5, 5, 0, []),
        (3, 3, 0, []),
    ]


def test_lines_behind_what_was_shipped_are_new_and_not_inserted(host: Host) -> None:
    host.ship()
    with host.log.open("a") as file:
        file.write("2026-03-02T10:00:00Z mail dovecot: fresh\n")

    comparison = host.compared(host.log)

    assert (comparison.new, comparison.differences) == (1, [])


def test_rotation_is_no_clearing(host: Host) -> None:
    import gzip

    host.ship()
    host.log.rename(host.folder / "mail.log.1")
    host.log.write_text("2026-03-03T09:00:00Z mail dovecot: next day\n")
    host.ship()
    packed = host.folder / "mail.log.2.gz"
    packed.write_bytes(gzip.compress((host.folder / "mail.log.1").read_bytes()))
    os.utime(packed, (1, 1))
    (host.folder / "mail.log.1").unlink()

    comparison = host.compared(host.log)

    assert (comparison.held, comparison.same, comparison.differences) == (301, 301, [])


@pytest.mark.parametrize("is_noticed", [False, True])
def test_edited_lines_are_shown_with_what_they_were(host: Host, is_noticed: bool) -> None:
    host.ship()
    lines = host.log.read_text().splitlines(keepends=True)
    lines[40] = lines[40].replace("line 40", "line 99")
    del lines[100:103]
    lines.insert(200, "2026-03-02T09:03:20Z mail dovecot: never happened\n")
    host.log.write_text("".join(lines))
    if is_noticed:  # the shipper saw the edited log too, and shipped it
        host.ship()

    comparison = host.compared(host.log)

    missing = [d.before for d in comparison.differences if d.what == "Missing"]
    inserted = [d.after for d in comparison.differences if d.what == "Inserted"]
    assert [line.rsplit(" ", 1)[1] for line in missing if "line 40" not in line] == ["100", "101", "102"]
    assert any("never happened" in line for line in inserted)
    if is_noticed:
        assert any("line 40" in line for line in missing)
    else:
        altered = next(d for d in comparison.differences if d.what == "Altered")
        assert (altered.before[-7:], altered.after[-7:], altered.place) == ("line 40", "line 99", "41")
    assert comparison.same >= 296


def test_an_emptied_log_is_missing_as_a_whole(host: Host) -> None:
    host.ship()
    os.truncate(host.log, 0)
    host.ship()

    comparison = host.compared(host.log)

    assert kinds(comparison) == ["Missing"] * 300
    assert [d.before.rsplit(" ", 1)[1] for d in comparison.differences] == [str(i) for i in range(300)]


def test_a_deleted_log_is_missing_as_a_whole(host: Host) -> None:
    host.ship()
    host.log.unlink()

    assert kinds(host.compared(host.log)) == ["Missing"] * 300


def test_messages_that_are_gone_altered_inserted_or_moved_are_shown(host: Host) -> None:
    host.ship()
    cur = host.maildir / "cur"
    (cur / "0.host:2,S").unlink()
    (cur / "1.host:2,S").write_bytes(host.message(1).replace(b"body 1", b"body X"))
    (cur / "2.host:2,S").rename(host.maildir / ".Sent" / "cur" / "2.host:2,S")
    (cur / "3.host:2,S").rename(cur / "3.host:2,RS")
    (cur / "planted").write_bytes(host.message(66))
    os.utime(cur / "planted", (1_700_000_000, 1_700_000_000))

    comparison = host.compared(host.maildir)

    found = {d.place: (d.what, d.message_id) for d in comparison.differences}
    assert found == {
        "0.host": ("Missing", "<0@contoso.example>"),
        "1.host": ("Altered", "<1@contoso.example>"),
        "2.host": ("Moved", "<2@contoso.example>"),
        "planted": ("Inserted", "<66@contoso.example>"),
    }
    assert "body changed" in next(d.after for d in comparison.differences if d.what == "Altered")
    assert comparison.same == 2


def test_a_removed_maildir_and_a_truncated_mbox_are_missing_as_a_whole(host: Host) -> None:
    host.ship()
    shutil.rmtree(host.maildir)
    os.truncate(host.mbox, 0)
    host.ship()

    mail, box = host.compared(host.maildir), host.compared(host.mbox)

    assert [d.subject for d in mail.differences] == [f"Invoice {i}" for i in range(5)]
    assert sorted(d.message_id for d in box.differences) == [f"<{i}@contoso.example>" for i in (7, 8, 9)]
    assert all(d.noticed_us for d in box.differences)


def test_the_intruder_as_root_with_the_shippers_keys_hides_nothing(host: Host) -> None:
    """Root edits the log, wipes mail, empties the queue, and forges records with the shipper's own certificate."""
    host.ship()
    end_of_truth = host.site.reader().head().head.size
    original = host.log.read_text().splitlines(keepends=True)
    host.log.write_text("".join(line for i, line in enumerate(original) if not 50 <= i < 60))
    for path in (host.maildir / "cur").iterdir():
        path.unlink()
    os.truncate(host.mbox, 0)
    shutil.rmtree(host.folder / "state")
    identity = f"{host.log.stat().st_dev}:{host.log.stat().st_ino}:0"
    forged = [
        Observed(
            kind="line",
            path=str(host.log),
            file=identity,
            offset=offset,
            body=b"forged: it always looked like this\n",
        )
        for offset in (0, 46)
    ]
    forged.append(
        Observed(
            kind="line", path=str(host.log), file="9:9:9", offset=0, body=b"forged: in a file of its own\n"
        )
    )
    forged.append(
        Observed(
            kind="message",
            path=str(host.maildir),
            file="0.host",
            body=b"Subject: nothing\n\n",
            facts={"sha256": "00"},
        )
    )
    host.site.client().append([(o.key(), o.packed()) for o in forged])
    host.ship()

    held = Held(RemoteSource(host.site.reader(), host.site.pinned), "mail")
    log = targets.compare(held, host.log)[0]
    mail = next(c for c in targets.compare(held, host.maildir) if c.path == str(host.maildir))

    gone = [d for d in log.differences if d.what == "Missing" and d.number < end_of_truth]
    assert [d.before for d in gone] == [original[i].rstrip() for i in range(50, 60)]
    assert [(d.what, d.subject) for d in mail.differences] == [("Missing", f"Invoice {i}") for i in range(5)]
    later = [d for d in log.differences if d.number >= end_of_truth and "forged" in d.before]
    assert {d.what for d in later} == {"Contradicted", "Missing"}
    assert all(d.received_us > gone[0].received_us for d in later)


def test_proofs_are_checked_offline_and_any_changed_byte_is_found(host: Host, tmp_path: Path) -> None:
    host.ship()
    os.truncate(host.log, 0)
    source = RemoteSource(host.site.reader(), host.site.pinned)
    comparison = targets.compare(Held(source, "mail"), host.log)[0]
    path = tmp_path / "proof.json"
    import msgspec

    made = proofs.make(source, [d.number for d in comparison.differences[:3]])
    path.write_bytes(msgspec.json.encode(made))

    assert all(line.ok for line in proofs.check(path, pinned=host.site.pinned))
    assert not all(line.ok for line in proofs.check(path, pinned="00" * 32))
    content = path.read_bytes()
    chance = random.Random(1)  # noqa: S311 - repeatable
    for place in chance.sample(range(len(content)), min(700, len(content))):
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(7)
        path.write_bytes(bytes(changed))
        try:
            lines = proofs.check(path, pinned=host.site.pinned)
        except Exception as error:  # noqa: BLE001 - only our own kind may come
            from mailwitness.errors import ConfigError

            assert isinstance(error, ConfigError)  # noqa: PT017 - either error or not
        else:
            same = msgspec.json.decode(bytes(changed), type=proofs.ProofFile) == made
            assert same or not all(line.ok for line in lines), place


def test_a_copy_of_the_store_is_compared_without_the_service(host: Host, tmp_path: Path) -> None:
    host.ship()
    wait_for(
        lambda: (
            json.loads((host.site.store / "heads.jsonl").read_text().splitlines()[-1])["size"]
            == host.site.reader().head().head.size
        )
    )
    shutil.copytree(host.site.store, tmp_path / "copy", ignore=shutil.ignore_patterns("index", "lock"))
    os.truncate(host.log, 0)

    source = LocalSource(tmp_path / "copy", host.site.pinned)

    assert kinds(targets.compare(Held(source, "mail"), host.log)[0]) == ["Missing"] * 300
    with pytest.raises(WitnessError, match="does not follow"):
        LocalSource(tmp_path / "copy", "11" * 32)


def test_a_changed_copy_of_the_store_is_refused(host: Host, tmp_path: Path) -> None:
    host.ship()
    wait_for(
        lambda: (
            json.loads((host.site.store / "heads.jsonl").read_text().splitlines()[-1])["size"]
            == host.site.reader().head().head.size
        )
    )
    shutil.copytree(host.site.store / "segments", tmp_path / "copy" / "segments")
    shutil.copy(host.site.store / "heads.jsonl", tmp_path / "copy")
    path = segments.paths(tmp_path / "copy" / "segments")[-1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(StoreDamaged):
        LocalSource(tmp_path / "copy", host.site.pinned)


def test_entries_that_the_journal_no_longer_has_are_missing(site: Site, tmp_path: Path) -> None:
    import hashlib

    entries = [f"__CURSOR=s={tmp_path.name};i={i}\nMESSAGE=expunge {i}\n".encode() for i in range(4)]
    seen = [
        Observed(kind="journal", path="journal:", file=f"s={tmp_path.name};i={i}", body=body)
        for i, body in enumerate(entries)
    ]
    site.client().append([(hashlib.sha256(o.packed()).digest(), o.packed()) for o in seen])
    export = tmp_path / "export"
    export.write_bytes(entries[0] + b"\n" + entries[3].replace(b"expunge", b"nothing") + b"\n")

    held = Held(RemoteSource(site.reader(), site.pinned), "mail")
    found = {d.place[-1]: d.what for d in compare_journal(held, "journal:", export).differences}

    assert found == {"1": "Missing", "2": "Missing", "3": "Altered"}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=environment(), check=False
    )


def test_the_commands_compare_verify_and_feed_a_case(host: Host, tmp_path: Path) -> None:
    host.ship()
    lines = host.log.read_text().splitlines(keepends=True)
    host.log.write_text("".join(lines[:100] + lines[120:]))
    (host.maildir / "cur" / "0.host:2,S").unlink()
    reader = host.site.folder / "readers" / "kim" / "reader.toml"
    reader.write_text(reader.read_text().replace(":6515", f":{host.site.port['https']}"))
    result, proof = tmp_path / "result.jsonl", tmp_path / "proof.json"

    compared = _run(
        "compare",
        str(host.log),
        str(host.maildir),
        "--client",
        "mail",
        "--reader",
        str(reader),
        "--out",
        str(result),
        "--proofs",
        str(proof),
        "--now",
        "2026-03-02T12:00:00Z",
    )
    verified = _run("verify", str(proof), "--key", host.site.pinned)
    forged = _run("verify", str(proof), "--key", "ab" * 32)
    nothing = _run(
        "compare",
        str(tmp_path / "unknown"),
        "--client",
        "mail",
        "--reader",
        str(reader),
        "--out",
        str(result) + "2",
    )
    stranger = _run(
        "compare", str(host.log), "--client", "nobody", "--reader", str(reader), "--out", str(result) + "2"
    )

    assert compared.returncode == 1, compared.stderr
    assert "20 missing" in compared.stdout
    assert "<0@contoso.example>" in compared.stdout
    assert verified.returncode == 0
    assert verified.stdout.count("ok ") == 23
    assert [forged.returncode, nothing.returncode, stranger.returncode] == [2, 2, 2]
    assert "the witness holds nothing" in nothing.stderr
    rows = [json.loads(line) for line in result.read_text().splitlines()]
    assert [row["WitnessComparison"] for row in rows].count("Missing") == 21
    assert {row["ComparedAt"] for row in rows} == {"2026-03-02T12:00:00Z"}
    report = _investigated(result, tmp_path / "case")
    found = {rule["name"] for rule in report["rules"] if rule["outcome"] == "found"}
    assert {
        "Log lines differ from what the witness holds",
        "Messages differ from what the witness holds",
    } <= found


def _investigated(evidence: Path, case: Path) -> dict[str, Any]:
    import sys

    command = [sys.executable, "-m", "mailwitness", "investigate", str(evidence), "--case", str(case)]
    subprocess.run(command, capture_output=True, env=environment(), check=False)
    report: dict[str, Any] = json.loads((case / "report.json").read_text())
    return report


def test_a_host_without_differences_ends_clear(host: Host, tmp_path: Path) -> None:
    host.ship()
    reader = host.site.folder / "readers" / "kim" / "reader.toml"
    reader.write_text(reader.read_text().replace(":6515", f":{host.site.port['https']}"))

    compared = _run(
        "compare",
        str(host.log),
        "--client",
        "mail",
        "--reader",
        str(reader),
        "--out",
        str(tmp_path / "result"),
    )

    assert (compared.returncode, "nothing differs" in compared.stdout) == (0, True)
