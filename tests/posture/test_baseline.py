"""What a baseline promises: every change of mode, owner and content shows, growth does not, and a forged baseline is refused."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mailwitness.errors import ConfigError
from mailwitness.posture import baseline
from mailwitness.posture.root import Root
from mailwitness.witness.heads import public_text

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "host"
    for name, text in {
        "etc/passwd": "alice:x:1001:1001::/home/alice:/bin/sh\n",
        "etc/hostname": "mx\n",
        "etc/postfix/main.cf": "a = b\n",
        "var/mail/alice": "From x\n",
        "var/log/mail.log": "line 1\nline 2\n",
        "home/alice/Maildir/new/1": "one\n",
        "home/alice/Maildir/new/2": "two\n",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    return home


def changed(root: Path, before: baseline.Baseline) -> list[tuple[str, str]]:
    return [
        (one.kind, one.path) for one in baseline.changes(before, baseline.take(root, now=NOW), Root(root))
    ]


def test_nothing_changed_is_nothing_found(root: Path) -> None:
    assert changed(root, baseline.take(root, now=NOW)) == []


def test_a_log_that_grows_is_no_change_and_one_that_is_cut_or_edited_is(root: Path) -> None:
    before = baseline.take(root, now=NOW)
    log = root / "var/log/mail.log"
    log.write_text("line 1\nline 2\nline 3\n")
    grown = changed(root, before)
    log.write_text("line 1\n")
    cut = changed(root, before)
    log.write_text("line 1\nline X\nline 3\n")
    edited = changed(root, before)

    assert grown == []
    assert cut == [("changed", "/var/log/mail.log")]
    assert edited == [("changed", "/var/log/mail.log")]


def test_removed_added_and_changed_messages_and_settings_show_with_who_could(root: Path) -> None:
    before = baseline.take(root, now=NOW)
    new = root / "home/alice/Maildir/new"
    (new / "1").unlink()
    (new / "2").write_text("TWO\n")
    (new / "3").write_text("three\n")
    (root / "etc/postfix/main.cf").chmod(0o666)

    found = baseline.changes(before, baseline.take(root, now=NOW), Root(root))

    assert [(one.kind, one.path) for one in found] == [
        ("changed", "/etc/postfix/main.cf"),
        ("removed", "/home/alice/Maildir/new/1"),
        ("changed", "/home/alice/Maildir/new/2"),
        ("added", "/home/alice/Maildir/new/3"),
    ]
    assert found[0].what == "mode was 0644, is 0666"
    assert all("root" in one.who for one in found)


def test_a_baseline_that_was_changed_or_signed_by_another_is_refused(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baseline.write(baseline.sign(baseline.take(root, now=NOW), KEY), path)

    assert baseline.read(path, key=public_text(KEY)).entries
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="not genuine"):
        baseline.read(path, key="00" * 32)
    path.write_text(path.read_text().replace('"0644"', '"0600"', 1))
    with pytest.raises(ConfigError, match="not genuine"):
        baseline.read(path)
