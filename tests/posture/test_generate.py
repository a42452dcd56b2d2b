"""What generated settings promise: they are what the checks ask for, and their own programs accept them."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import tree_sitter
import tree_sitter_powershell

from mailwitness import posture_commands
from mailwitness.errors import ConfigError
from mailwitness.posture import audit_rules, mail_settings, selftest
from mailwitness.posture.evaluate import FAIL, PASS
from mailwitness.posture.generate import NAMES, SELFTESTS, Witness, generate
from mailwitness.posture.root import Root
from mailwitness.posture.run import run
from mailwitness.scenarios import live

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
HERE = Witness(host="witness.contoso.example")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "host"
    for name, text in {
        "etc/passwd": "alice:x:1001:1001::/home/alice:/bin/sh\n",
        "etc/dovecot/dovecot.conf": "mail_plugins = quota\nprotocol lmtp {\n  mail_plugins = $mail_plugins sieve\n}\n!include conf.d/*.conf\n",
        "etc/rsyslog.conf": "$IncludeConfig /etc/rsyslog.d/*.conf\n",
        "etc/audit/auditd.conf": "write_logs = yes\n",
        "usr/sbin/auditd": "",
        "var/log/mail.log": "x\n",
        "var/mail/alice": "x\n",
        "home/alice/Maildir/new/1": "x\n",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    return home


def outcomes(root: Path) -> dict[str, str]:
    return {
        one.check: one.outcome
        for one in run(root=root, case=None, platforms=[], exempt=None, now=NOW).results
    }


def install(root: Path, kind: str, folder: str) -> None:
    written = generate(kind, root.parent / "out", root=root, witness=HERE)
    (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(written.path, root / folder / NAMES[kind])


def test_the_generated_settings_turn_the_checks_from_fail_to_pass(root: Path) -> None:
    before = outcomes(root)
    install(root, "auditd", "etc/audit/rules.d")
    install(root, "dovecot", "etc/dovecot/conf.d")
    install(root, "rsyslog", "etc/rsyslog.d")
    after = outcomes(root)

    mended = {
        "mail_stores_are_watched",
        "programs_are_audited",
        "attribute_changes_are_audited",
        "dovecot_logs_deletions",
        "dovecot_logs_every_kind_of_deletion",
        "dovecot_names_the_message",
    }
    assert {check: before[check] for check in mended} == dict.fromkeys(mended, FAIL)
    assert {check: after[check] for check in mended} == dict.fromkeys(mended, PASS)
    assert after["no_rule_relies_on_descriptors"] == PASS
    assert after["logs_travel_encrypted"] == PASS
    assert after["logs_wait_on_disk"] == PASS


def test_a_plugin_set_after_a_protocol_block_does_not_reach_into_it(root: Path) -> None:
    (root / "etc/dovecot/dovecot.conf").write_text(
        "protocol lmtp {\n  mail_plugins = $mail_plugins sieve\n}\nmail_plugins = notify mail_log\n"
    )

    found = next(mail_settings.dovecot(Root(root)))["Settings"]

    assert found["Plugins_lmtp"] == ["sieve"]
    assert found["Plugins_imap"] == ["mail_log", "notify"]


def test_both_system_call_tables_are_in_the_audit_rules(root: Path) -> None:
    written = generate("auditd", root.parent / "out", root=root, witness=HERE)

    rules = [audit_rules.parse(line) for line in written.path.read_text().splitlines() if line[:1] == "-"]
    assert written.is_valid is True
    assert None not in rules
    for arch in ("b64", "b32"):
        assert any(rule and f"arch={arch}" in rule.fields and "execve" in rule.calls for rule in rules)


def test_a_folder_that_would_be_a_rule_of_its_own_is_left_out_and_named(root: Path) -> None:
    (root / "etc/passwd").write_text("eve:x:1001:1001::/home/eve -p r -k x:/bin/sh\n")
    (root / "home/eve -p r -k x/Maildir").mkdir(parents=True)

    written = generate("auditd", root.parent / "out", root=root, witness=HERE)

    assert written.left_out == ["/home/eve -p r -k x/Maildir"]
    assert "/home/eve" not in written.path.read_text()


def test_an_address_that_would_end_the_configuration_is_refused(root: Path) -> None:
    for odd in (Witness(host='x" action(type="omprog"'), Witness(ca='/x"\n')):
        with pytest.raises(ConfigError):
            generate("rsyslog", root.parent / "out", root=root, witness=odd)


@pytest.mark.skipif(shutil.which("doveconf") is None, reason="Dovecot is not installed")
def test_dovecot_accepts_its_settings(root: Path) -> None:
    assert generate("dovecot", root.parent / "out", root=root, witness=HERE).is_valid is True


@pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="rsyslog is not installed")
def test_rsyslog_accepts_its_settings_where_the_certificates_are(root: Path, tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("ca.pem", "client.pem", "client.key")]
    for name in names:
        name.write_text("x\n")
    there = Witness(
        host="witness.contoso.example", ca=str(names[0]), certificate=str(names[1]), key=str(names[2])
    )

    written = generate("rsyslog", root.parent / "out", root=root, witness=there)
    without = generate("rsyslog", root.parent / "out2", root=root, witness=HERE)

    assert written.is_valid is True, written.said
    assert without.is_valid is False


def test_sysmon_settings_are_well_formed_and_name_the_mail_paths(root: Path) -> None:
    written = generate("sysmon", root.parent / "out", root=root, witness=HERE)

    tree = ET.fromstring(written.path.read_text())  # noqa: S314 - our own file
    assert tree.get("schemaversion") == "4.90"
    assert {element.tag for element in tree.iter()} >= {
        "ProcessCreate",
        "FileCreate",
        "FileDelete",
        "FileDeleteDetected",
    }
    assert any(element.text == "\\Comms\\Unistore\\" for element in tree.iter())


def test_a_clearing_that_nobody_noticed_is_said_to_be_unrecorded(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.touch()
    deed = next(iter(sorted(name for name, one in live.deeds().items() if one.shell)))

    tried = selftest.run(tmp_path / "scratch", [log], deeds=[deed], reader=None, seconds=0)

    assert [(one.is_recorded, one.has_arrived) for one in tried] == [(False, None)]


@pytest.mark.parametrize("kind", sorted(SELFTESTS))
def test_what_cannot_be_tried_here_brings_a_script_that_tries_it(kind: str, root: Path) -> None:
    written = generate(kind, root.parent / "out", root=root, witness=HERE)
    script = (root.parent / "out" / SELFTESTS[kind]).read_text(encoding="utf-8")

    assert SELFTESTS[kind] in written.said
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language())).parse(script.encode())
    assert not tree.root_node.has_error
    # It clears what it made itself, looks for its own trace, and says either outcome by its exit code.
    assert script.count("$trace") >= 4
    assert {"exit 0", "exit 1"} <= set(re.findall(r"exit \d", script))
    assert "{{" not in script


def test_a_trace_without_a_witness_is_refused() -> None:
    with pytest.raises(ConfigError, match="looked for at a witness"):
        posture_commands.selftest(arrived="mailwitness-selftest-1")
