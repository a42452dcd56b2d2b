"""A real Postfix, Dovecot, rsyslog, journald and auditd: posture before and after, everything shipped, then an intruder as root.

The host is in namespaces of its own; the witness is on the other side of a cable. What happens there happens once, and the tests look at it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mailwitness.witness.held import Held, RemoteSource
from mailwitness.witness.records import parse

from . import mail_host
from .mail_host import MailHost
from .site import COMMAND, Site, environment

REASON = mail_host.why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "it runs here")
ALICE, BOB = range(20), range(20, 30)
# Four ways that need no program of their own; all nineteen take as many seconds.
DEEDS = [word for deed in ("rm", "truncate", "sed", "rm_maildir") for word in ("--deed", deed)]
LOGS = ("/var/log/mail.log", "/var/log/audit/audit.log")
# What the intruder sends with the shipper's own keys: lines for places that had others, a line of a file that never was, a message.
FORGE = """
import sys
from pathlib import Path
from mailwitness.witness import config
from mailwitness.witness.client import Client
from mailwitness.witness.observed import Observed
log = Path("/var/log/mail.log").stat()
forged = [Observed(kind="line", path="/var/log/mail.log", file=sys.argv[1], offset=0, body=b"forged: nothing happened here\\n"),
    Observed(kind="line", path="/var/log/mail.log", file="9:9:9", offset=0, body=b"forged: in a file of its own\\n"),
    Observed(kind="message", path="/home/alice/Maildir", file="forged", body=b"Subject: nothing\\n\\n", facts={"sha256": "00"})]
with Client(config.read(Path("/etc/mailwitness/ship.toml"), config.Ship)) as client:
    client.append([(one.key(), one.packed()) for one in forged])
"""
SHIP = """witness = "https://{address}"
certificate = "tls.crt"
key = "tls.key"
ca = "ca.crt"
state = "/var/lib/mailwitness/state"
canary_seconds = 0
"""
FOLLOWED = [
    ("lines", "/var/log/mail.log"), ("lines", "/var/log/audit/audit.log"), ("maildir", "/home/*/Maildir"), ("mbox", "/var/mail/*"),
    ("dovecot", "/home/*/Maildir"), ("journal", ""),
]  # fmt: skip


class Story:
    """What was done on the host, in order, and what each command said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: dict[str, subprocess.CompletedProcess[bytes]] = {}

    def play(self) -> None:
        with (
            MailHost(self.folder / "host") as self.host,
            Site(self.folder, address=self.host.outside) as self.site,
        ):
            self._command("before", "posture", "--format", "json")
            self._apply_settings()
            self._command("after", "posture", "--format", "json")
            self._ship()
            self._seal()
            self._clear()
            self._compare()
        self._elsewhere()

    def _command(self, name: str, *words: str) -> None:
        self.said[name] = self.host.run(sys.executable, "-m", "mailwitness", *words, check=False)
        (self.folder / f"said {name.replace('/', ' ')}.txt").write_bytes(self.said[name].stdout)

    def _apply_settings(self) -> None:
        host, keys = self.host, self.site.folder / "clients" / "mail"
        host.shell(
            f"mkdir -p /etc/mailwitness /var/lib/mailwitness; cp {keys}/* /etc/mailwitness/; chmod 700 /etc/mailwitness"
        )
        self.settings = self.folder / "settings"
        self._command(
            "settings", "posture", "settings", "--for", "auditd", "--for", "dovecot", "--for", "rsyslog", "--out", str(self.settings),
            "--witness", f"{self.host.outside}:{self.site.port['syslog']}", "--ca", "/etc/mailwitness/ca.crt", "--certificate", "/etc/mailwitness/tls.crt", "--key", "/etc/mailwitness/tls.key",
        )  # fmt: skip
        host.shell(
            f"cp {self.settings}/*.rules /etc/audit/rules.d/; cp {self.settings}/99-*.conf /etc/dovecot/conf.d/; cp {self.settings}/10-*.conf /etc/rsyslog.d/; "
            "doveadm stop; kill $(cat /run/rsyslogd.pid); sleep 1; dovecot; rsyslogd -i /run/rsyslogd.pid"
        )
        host.start_auditing()

    def _ship(self) -> None:
        address = f"{self.host.outside}:{self.site.port['https']}"
        entries = "".join(f'[[follow]]\nkind = "{kind}"\npath = "{path}"\n' for kind, path in FOLLOWED)
        self.host.write("/etc/mailwitness/ship.toml", SHIP.format(address=address) + entries)
        self.shipper = self.host.background(
            sys.executable, "-m", "mailwitness", "witness", "ship", "--config", "/etc/mailwitness/ship.toml"
        )
        self.reader = self.site.folder / "readers" / "kim" / "reader.toml"
        self.reader.write_text(self.reader.read_text().replace(f"{self.host.outside}:6515", address))
        self.host.deliver(ALICE, "alice")
        self.host.deliver(BOB, "bob")
        self._command(
            "selftest", "posture", "selftest", "--scratch", "/var/mail/mailwitness-selftest", "--log", LOGS[1], "--reader", str(self.reader), "--seconds", "20", *DEEDS
        )  # fmt: skip
        self._quiet()

    def _quiet(self) -> None:
        """Wait until everything that was written is at the witness."""
        before, since = -1, time.monotonic()
        while time.monotonic() - since < 4:
            now = self.site.reader().head().head.size
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(0.3)

    def _seal(self) -> None:
        home = {"XDG_CONFIG_HOME": str(self.folder / "config")}
        for name, words in (
            ("key", ["bundle", "key"]),
            (
                "baseline",
                [
                    "posture",
                    "baseline",
                    "--out",
                    "/var/lib/mailwitness/baseline.json",
                    "--seal",
                    "/etc/mailwitness/ship.toml",
                ],
            ),
        ):
            self.said[name] = self.host.run(
                "env",
                *(f"{k}={v}" for k, v in home.items()),
                sys.executable,
                "-m",
                "mailwitness",
                *words,
                check=False,
            )
        self._quiet()

    def _clear(self) -> None:
        """Root removes the traces, with the shipper's keys at hand."""
        host, log = self.host, self.folder / "host" / "log"
        self.journal = host.shell("journalctl -o export --no-pager")
        self.truth = self.site.reader().head().head.size
        self.logs = {
            LOGS[0]: (log / "mail.log").read_bytes(),
            LOGS[1]: (log / "audit" / "audit.log").read_bytes(),
        }
        held = Held(RemoteSource(self.site.reader(), self.site.pinned), "mail")
        identity = next(iter(held.lines[LOGS[0]]))
        self.shipper.kill()
        self.shipper.wait()
        host.shell("rm -rf /var/lib/mailwitness/state; auditctl -D; auditctl -e 0")
        host.shell(
            "sed -i -e '/message-id=<m3@/d' -e 's/message-id=<m4@/message-id=<m99@/' /var/log/mail.log; : > /var/log/audit/audit.log"
        )
        host.shell(
            "rm /home/alice/Maildir/new/*; truncate -s 0 /var/mail/bob; rm -rf /var/log/journal/*/* /run/log/journal/*; chmod 666 /var/log/mail.log"
        )
        self.said["forge"] = host.run(sys.executable, "-", identity, given=FORGE.encode())

    def _compare(self) -> None:
        export = self.folder / "journal.export"
        export.write_bytes(self.host.run("journalctl", "-o", "export", "--no-pager", check=False).stdout)
        targets = {
            **{log: log for log in LOGS},
            "/home/alice/Maildir": "/home/alice/Maildir",
            "/var/mail/bob": "/var/mail/bob",
        }
        for name, target in targets.items():
            self._one(name, target)
        held = Held(RemoteSource(self.site.reader(), self.site.pinned), "mail")
        self.entries = next(iter(held.entries))
        self._one("journal", str(export), "--named", self.entries)
        key = ["env", f"XDG_CONFIG_HOME={self.folder / 'config'}"]
        self.said["diff"] = self.host.run(
            *key,
            sys.executable,
            "-m",
            "mailwitness",
            "posture",
            "diff",
            "/var/lib/mailwitness/baseline.json",
            check=False,
        )
        self.records = [parse(content) for _, content in self.site.reader().records()]

    def _one(self, name: str, target: str, *more: str) -> None:
        out = self.folder / "results" / name.strip("/").replace("/", "_")
        out.parent.mkdir(exist_ok=True)
        self._command(
            name, "witness", "compare", target, "--client", "mail", "--reader", str(self.reader), "--out", f"{out}.jsonl", "--proofs", f"{out}.proof", *more
        )  # fmt: skip

    def _elsewhere(self) -> None:
        """Check the proofs where neither host nor witness can be reached."""
        for proof in sorted((self.folder / "results").glob("*.proof")):
            copy = self.folder / "elsewhere" / proof.name
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(proof, copy)
            command = ["unshare", "--net", *COMMAND, "verify", str(copy), "--key", self.site.pinned]
            self.said[f"verify {proof.stem}"] = subprocess.run(
                command, capture_output=True, env=environment(), check=False
            )

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the differences of a path."""
        path = self.folder / "results" / (name.strip("/").replace("/", "_") + ".jsonl")
        found = [json.loads(line) for line in path.read_text().splitlines()]
        return [row for row in found if row["WitnessComparison"] != "Compared"]

    def outcomes(self, name: str) -> dict[str, str]:
        return {one["check"]: one["outcome"] for one in json.loads(self.said[name].stdout)["results"]}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    told = Story(tmp_path_factory.mktemp("real"))
    told.play()
    return told


def test_the_generated_settings_turn_checks_of_the_running_host_to_pass(story: Story) -> None:
    before, after = story.outcomes("before"), story.outcomes("after")

    mended = {check for check in before if (before[check], after[check]) == ("fail", "pass")}
    assert mended >= {
        "mail_stores_are_watched", "programs_are_audited", "attribute_changes_are_audited", "dovecot_logs_deletions",
        "dovecot_logs_every_kind_of_deletion", "dovecot_names_the_message", "logs_leave_the_host", "audit_rules_are_loaded",
    }  # fmt: skip
    assert not [check for check in before if before[check] == "pass" and after[check] == "fail"]


def test_the_self_test_clears_scratch_mail_and_sees_it_recorded_and_arrived(story: Story) -> None:
    if story.host.audit:
        pytest.skip(f"the kernel's audit records cannot be had here: {story.host.audit}")
    said = story.said["selftest"].stdout.decode()

    assert "recorded; arrived" in said
    assert "NOT recorded" not in said
    assert "did NOT arrive" not in said


def test_every_line_that_was_shipped_and_cleared_is_shown(story: Story) -> None:
    rows = story.rows(LOGS[0])

    cleared = [line for line in story.logs[LOGS[0]].decode().split("\n") if "message-id=<m3@" in line]
    changed = [line for line in story.logs[LOGS[0]].decode().splitlines() if "message-id=<m4@" in line]
    assert cleared
    assert Counter(
        r["Before"] for r in rows if r["WitnessComparison"] == "Missing" and r["Number"] < story.truth
    ) == Counter(cleared)
    assert [(r["Before"], r["After"]) for r in rows if r["WitnessComparison"] == "Altered"] == [
        (line, line.replace("<m4@", "<m99@")) for line in changed
    ]


def test_the_emptied_audit_log_is_shown_line_by_line(story: Story) -> None:
    if story.host.audit:
        pytest.skip(f"the kernel's audit records cannot be had here: {story.host.audit}")
    missing = Counter(r["Before"] for r in story.rows(LOGS[1]) if r["WitnessComparison"] == "Missing")

    # auditd puts a group separator into its lines, at which splitlines() would part them.
    written = Counter(line[:2000] for line in story.logs[LOGS[1]].decode().split("\n") if line)
    assert len(written) > 20
    assert missing == written


def test_every_message_that_was_shipped_and_cleared_is_shown(story: Story) -> None:
    alice = {
        r["MessageId"]
        for r in story.rows("/home/alice/Maildir")
        if r["WitnessComparison"] == "Missing" and r["Number"] < story.truth
    }
    bob = {r["MessageId"] for r in story.rows("/var/mail/bob") if r["WitnessComparison"] == "Missing"}

    assert alice == {f"<m{number}@fabrikam.example>" for number in ALICE}
    assert bob == {f"<m{number}@fabrikam.example>" for number in BOB}


def test_every_entry_of_the_cleared_journal_is_shown(story: Story) -> None:
    written = {
        line[len(b"__CURSOR=") :].decode()
        for line in story.journal.split(b"\n")
        if line.startswith(b"__CURSOR=")
    }

    missing = {r["Place"] for r in story.rows("journal") if r["WitnessComparison"] == "Missing"}
    assert len(written) > 20
    assert missing >= written


def test_forged_records_are_attributed_to_the_client_and_the_time(story: Story) -> None:
    forged = [
        r
        for r in story.rows(LOGS[0]) + story.rows("/home/alice/Maildir")
        if "forged" in r["Before"] + r["Place"]
    ]

    assert {(r["WitnessComparison"], r["Client"]) for r in forged} == {
        ("Contradicted", "mail"),
        ("Missing", "mail"),
    }
    assert len(forged) == 3
    last = max(record.received_us for record in story.records[: story.truth])
    assert all(
        story.records[r["Number"]].client == "mail" and story.records[r["Number"]].received_us > last
        for r in forged
    )


def test_rsyslog_brought_the_same_lines_by_its_own_way(story: Story) -> None:
    bodies = [record.body for record in story.records if record.kind == 0 and record.client == "mail"]

    assert all(
        any(f"message-id=<m{number}@fabrikam.example>".encode() in body for body in bodies)
        for number in [*ALICE, *BOB]
    )


def test_proofs_hold_on_a_copy_elsewhere(story: Story) -> None:
    verified = {name: done for name, done in story.said.items() if name.startswith("verify ")}

    assert len(verified) == 5
    for name, done in verified.items():
        assert done.returncode == 0, (name, done.stderr)
        assert done.stdout.count(b"ok ") > 2
        assert b"FALSE" not in done.stdout


def test_a_baseline_is_sealed_in_the_witness_and_shows_what_changed(story: Story) -> None:
    written = json.loads(
        (story.folder / "host" / "var.up" / "lib" / "mailwitness" / "baseline.json").read_text()
    )
    sealed = [json.loads(r.body) for r in story.records if r.body.startswith(b'{"kind":"posture baseline"')]

    assert [(one["signature"], one["key"]) for one in sealed] == [(written["signature"], written["key"])]
    assert b"/var/log/mail.log" in story.said["diff"].stdout
