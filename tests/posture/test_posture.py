"""What posture promises: it looks without being led astray, says what it could not see, and names what is blind."""

from __future__ import annotations

import datetime as dt
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from py_ocsf_models.events.findings.compliance_finding import ComplianceFinding

from mailwitness.content import loader
from mailwitness.errors import ConfigError
from mailwitness.posture import check_tests, document, exceptions, host, page
from mailwitness.posture.blind import Rules
from mailwitness.posture.evaluate import FAIL, NOT_EVALUATED, PASS, Judged, exit_code, quoted
from mailwitness.posture.root import Root
from mailwitness.posture.run import Posture, run

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
FILES = {
    "etc/hostname": "mx.contoso.example\n",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nalice:x:1001:1001::/home/alice:/bin/sh\n",
    "etc/group": "root:x:0:\nmail:x:8:alice\nalice:x:1001:\n",
    "etc/sudoers": "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\nops ALL=(ALL) NOPASSWD: ALL\n",
    "etc/audit/audit.rules": "-w /var/mail -p wa -k store\n-a always,exit -F arch=b64 -S ftruncate -F dir=/home\n",
    "etc/audit/auditd.conf": "write_logs = yes\n",
    "usr/sbin/auditd": "",
    "etc/dovecot/dovecot.conf": "mail_plugins = $mail_plugins notify mail_log\n!include conf.d/*.conf\n",
    "etc/dovecot/conf.d/20-lmtp.conf": "protocol lmtp {\n  mail_plugins = sieve  # drops the others\n}\n",
    "etc/dovecot/conf.d/90-log.conf": "plugin {\n  mail_log_events = delete undelete expunge copy save mailbox_create mailbox_delete mailbox_rename\n  mail_log_fields = uid box msgid size\n}\n",
    "etc/postfix/main.cf": "myhostname = mx\nalways_bcc =\n  archive@archive.contoso.example\n",
    "etc/rsyslog.conf": '*.* action(type="omfwd" target="192.0.2.9" port="6514" protocol="tcp" StreamDriverMode="1" StreamDriverAuthMode="x509/name")\n',
    "var/log/mail.log": "x\n",
    "home/alice/Maildir/new/1": "x\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "var/mail").mkdir()
    return tmp_path


def judged(root: Path, **options: Path) -> Posture:
    return run(root=root, case=None, platforms=[], exempt=options.get("exempt"), now=NOW)


def outcome(found: Posture, check: str) -> str:
    return next(one.outcome for one in found.results if one.check == check)


def settings(root: Path, kind: str) -> list[dict[str, object]]:
    return [row["Settings"] for row in host.snapshot(root, now=NOW)[0] if row["Kind"] == kind]


def test_the_tests_in_every_check_hold() -> None:
    failed = [(path.stem, name, problem) for path, name, problem in check_tests.tests([], now=NOW) if problem]

    assert failed == []


def test_every_check_is_complete_and_names_rules_that_exist() -> None:
    assert list(check_tests.problems([])) == []


def test_what_a_fail_costs_is_computed_from_the_content() -> None:
    check = next(check for _, check in loader.checks() if check.id == "mail_stores_are_watched")

    found = Rules().blinded(check.blind)

    shipped = {
        path.relative_to(loader.CONTENT / "rules").with_suffix("").as_posix() for path, _ in loader.rules()
    }
    assert set(found.rules) <= shipped
    assert len(found.rules) > 3


def test_a_protocol_block_that_drops_the_plugin_is_found(root: Path) -> None:
    found = settings(root, "DovecotConfig")[0]

    assert found["Plugins_imap"] == ["mail_log", "notify"]
    assert found["Plugins_lmtp"] == ["sieve"]
    assert outcome(judged(root), "dovecot_logs_deletions") == FAIL
    (root / "etc/dovecot/conf.d/20-lmtp.conf").write_text(
        "protocol lmtp {\n  mail_plugins = $mail_plugins sieve\n}\n"
    )
    assert outcome(judged(root), "dovecot_logs_deletions") == PASS


def test_the_form_of_dovecot_2_4_is_understood(root: Path) -> None:
    (root / "etc/dovecot/conf.d/20-lmtp.conf").unlink()
    (root / "etc/dovecot/dovecot.conf").write_text(
        "dovecot_config_version = 2.4.0\nmail_plugins {\n  notify = yes\n  mail_log = yes\n}\nprotocol pop3 {\n  mail_plugins {\n    mail_log = no\n  }\n}\n"
    )

    found = settings(root, "DovecotConfig")[0]

    assert found["Plugins_imap"] == ["mail_log", "notify"]
    assert found["Plugins_pop3"] == ["notify"]


def test_a_rule_for_a_descriptor_counts_for_nothing(root: Path) -> None:
    found = judged(root)

    assert outcome(found, "no_rule_relies_on_descriptors") == FAIL
    assert [one.identity for one in _failing(found, "mail_stores_are_watched")] == ["/home/alice/Maildir"]


def _failing(found: Posture, check: str) -> list[Judged]:
    return list(next(one.failing for one in found.results if one.check == check))


def test_a_forward_over_tls_without_a_queue_is_told_apart(root: Path) -> None:
    found = judged(root)

    ways = {row["What"]: row for row in settings(root, "LogForwarding")}
    assert (ways["mail"]["Ways"], ways["mail"]["Checked"], ways["mail"]["Buffered"]) == (1, 1, 0)
    assert outcome(found, "logs_travel_encrypted") == PASS
    assert outcome(found, "logs_wait_on_disk") == FAIL
    assert [one.identity for one in _failing(found, "logs_leave_the_host")] == ["audit log"]


def test_wide_modes_groups_and_sudo_without_password_fail(root: Path) -> None:
    (root / "var/mail").chmod(0o777)

    found = judged(root)

    for check in ("mail_spool_is_protected", "few_reach_mail_and_logs", "sudo_asks_for_a_password"):
        assert outcome(found, check) == FAIL
    spool = next(one for one in found.results if one.check == "mail_spool_is_protected")
    assert "chmod 2775 /var/mail" in spool.fix
    assert "the intruder can erase" in spool.meaning


def test_a_link_leads_nowhere_outside_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text("secret\n")
    (root / "etc/aliases").symlink_to(outside)
    (root / "etc/mailname").symlink_to("../../../../../../etc/hostname")
    (root / "loop").symlink_to("loop")

    looked = Root(root)

    assert looked.text("/etc/aliases") is None
    assert looked.text("/etc/mailname") == "mx.contoso.example\n"
    assert looked.text("/loop") is None
    assert looked.unread == {"/loop": "too many symbolic links"}


def test_a_pipe_and_a_huge_file_do_not_stop_it(root: Path) -> None:
    (root / "etc/sudoers").unlink()
    os.mkfifo(root / "etc/sudoers")
    with (root / "etc/postfix/main.cf").open("wb") as file:
        file.truncate(1 << 30)

    found = judged(root)

    assert found.unread["/etc/postfix/main.cf"] == "it is larger than 4 MiB"
    assert outcome(found, "mail_is_copied_on_arrival") == NOT_EVALUATED


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_what_cannot_be_read_without_root_is_never_a_pass(root: Path) -> None:
    for name in ("etc/audit", "etc/sudoers", "home/alice"):
        (root / name).chmod(0o000)
    for parent in [root, *root.parents]:
        if parent.stat().st_mode & 0o005 != 0o005 and str(parent) != "/":
            parent.chmod(0o755)
    code = (
        "import datetime as dt, json, pathlib, sys\nfrom mailwitness.posture.run import run\n"
        "r = run(root=pathlib.Path(sys.argv[1]), case=None, platforms=[], exempt=None, now=dt.datetime(2026, 3, 31, tzinfo=dt.UTC))\n"
        "print(json.dumps([{x.check: x.outcome for x in r.results}, r.unread]))"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path("src").resolve()),
        "HOME": "/",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", shutil.which("python") or "python", "-c", code, str(root)],
        capture_output=True, text=True, check=False, env=environment, cwd="/",
    )  # fmt: skip
    if "Permission denied" in done.stderr or "No module" in done.stderr:
        pytest.skip("this environment cannot be read without root")
    outcomes, unread = json.loads(done.stdout)

    assert outcomes["no_rule_relies_on_descriptors"] == NOT_EVALUATED
    assert outcomes["sudo_asks_for_a_password"] == NOT_EVALUATED
    assert outcomes["maildirs_are_private"] == NOT_EVALUATED
    assert "/etc/sudoers" in unread


def test_an_exception_holds_until_its_day_and_is_then_itself_reported(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "exceptions.csv"
    head = "check,identity,reason,owner,expires\n"
    table.write_text(
        head + "sudo_asks_for_a_password,ops ALL=(ALL) NOPASSWD: ALL,runs the backup,ops team,2026-03-31\n"
    )
    in_force = judged(root, exempt=table)
    table.write_text(
        head
        + "sudo_asks_for_a_password,ops ALL=(ALL) NOPASSWD: ALL,runs the backup,ops team,2026-03-30\nno_such,,a,b,2026-09-01\n"
    )
    ended = judged(root, exempt=table)

    assert outcome(in_force, "sudo_asks_for_a_password") == PASS
    assert (
        next(one for one in in_force.results if one.check == "sudo_asks_for_a_password").excepted[0].owner
        == "ops team"
    )
    assert outcome(ended, "sudo_asks_for_a_password") == FAIL
    reported = next(one for one in ended.results if one.check == "exceptions_are_current")
    assert [one.found for one in reported.failing] == ["it expired on 2026-03-30", "there is no such check"]


def test_an_exception_answers_for_settings_that_are_not_there(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "exceptions.csv"
    table.write_text(
        "check,identity,reason,owner,expires\nsweep_rules_take_nothing_away,,nobody has one,mail team,2026-09-01\n"
    )

    found = run(root=root, case=None, platforms=["exchange"], exempt=table, now=NOW).results
    found = [one for one in found if one.check == "sweep_rules_take_nothing_away"]

    assert [(one.outcome, one.reason) for one in found] == [
        (NOT_EVALUATED, "the snapshot holds no SweepRule")
    ]
    assert found[0].excepted[0].owner == "mail team"
    assert "Get-SweepRule" in found[0].remedy


def test_an_exceptions_file_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("check,reason\n")

    with pytest.raises(ConfigError, match="lacks a column"):
        exceptions.read(tmp_path / "x.csv", set(), now=NOW)


def test_each_result_is_a_compliance_finding_of_ocsf(root: Path) -> None:
    found = judged(root)

    lines = document.ocsf(found.results, place=found.place, now=NOW).splitlines()

    assert len(lines) == len(found.results)
    for line, result in zip(lines, found.results, strict=True):
        parsed = ComplianceFinding.model_validate_json(line)
        assert parsed.message is not None
        assert parsed.message.endswith(result.outcome) or result.outcome == NOT_EVALUATED


def test_the_page_loads_nothing_and_shows_hostile_names_as_text(root: Path) -> None:
    hostile = root / "home/alice/Maildir"
    (root / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nalice:x:1001:1001::/home/<script>alert(1)<:/bin/sh\n"
    )
    (root / "home/<script>alert(1)<").mkdir(parents=True)
    shutil.move(hostile, root / "home/<script>alert(1)<" / "Maildir")

    written = page.render(judged(root), now=NOW)

    assert "<script" not in written
    assert "&lt;script&gt;alert(1)" in written
    assert "default-src 'none'; style-src 'sha256-" in html.unescape(written)
    assert not re.search(r"(?:src|href)=", written)


def test_names_are_quoted_for_the_shell_that_runs_the_fix() -> None:
    assert quoted("/var/mail/a'; rm -rf /", "linux") == "'/var/mail/a'\"'\"'; rm -rf /'"
    assert quoted("O'Neil\u2019; Remove-Mailbox", "m365") == "'O''Neil\u2019\u2019; Remove-Mailbox'"


def test_the_exit_code_tells_fail_from_not_evaluated(root: Path) -> None:
    found = judged(root)
    passed = [one for one in found.results if one.outcome == PASS]
    unknown = [one for one in found.results if one.outcome == NOT_EVALUATED]

    assert exit_code(found.results) == 1
    assert exit_code([*passed, *unknown]) == 2
    assert exit_code(passed) == 0
    assert exit_code([]) == 2


def test_the_same_host_gives_the_same_document(root: Path) -> None:
    one, two = judged(root), judged(root)

    first = document.document(one.results, place="/", unread=one.unread, absent=one.absent, now=NOW)
    assert json.dumps(first) == json.dumps(
        document.document(two.results, place="/", unread=two.unread, absent=two.absent, now=NOW)
    )
