"""Rules of the kernel beside rules of the files: the same rule is recognised however it is written, and what cannot be had is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailwitness.posture import audit_rules, loaded_rules
from mailwitness.posture.root import Root


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("-w /var/mail/ -p wa -k mail", "-w /var/mail -p wa -k mail"),
        ("-w /var/mail -p wa -k mail", "-a always,exit -S all -F dir=/var/mail -F perm=wa -F key=mail"),
        (
            "-a always,exit -F arch=b64 -S unlink,rename -F auid>=1000 -F auid!=unset -k home",
            "-a always,exit -F arch=b64 -S rename,unlink -F auid>=1000 -F auid!=-1 -F key=home",
        ),
        (
            "-a always,exit -F arch=b64 -S ioctl -F a1=0x40086602 -k flags",
            "-a always,exit -F arch=b64 -S ioctl -F a1=0x40086602 -F key=flags",
        ),
    ],
)
def test_the_same_rule_is_one_however_it_is_written(written: str, listed: str) -> None:
    one, other = audit_rules.parse(written), audit_rules.parse(listed)

    assert one is not None
    assert other is not None
    assert loaded_rules.normal(one) == loaded_rules.normal(other)


def test_another_place_or_permission_is_another_rule() -> None:
    rules = [
        audit_rules.parse(f"-w {place} -p {flags}")
        for place in ("/var/mail", "/home")
        for flags in ("wa", "r")
    ]

    assert len({loaded_rules.normal(rule) for rule in rules if rule}) == 4


def test_an_image_of_a_host_has_no_loaded_rules(tmp_path: Path) -> None:
    assert list(loaded_rules.facts(Root(tmp_path), [])) == []


@pytest.mark.parametrize("said", ["You must be root to run this program.", ""])
def test_why_auditctl_could_not_run_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    program = tmp_path / "auditctl"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 4\n")
    program.chmod(0o755)
    monkeypatch.setattr(loaded_rules, "_PATH", os.fspath(tmp_path))
    root = Root(Path("/"))

    assert list(loaded_rules.facts(root, [])) == []
    assert root.unread["auditctl"] == f"auditctl -l: {said or 'it ended with 4'}"
