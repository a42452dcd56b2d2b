"""The cache of prepared rules saves time and decides nothing."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from mailwitness.content import loader, pack

from .cases import NOW_TEXT, mailwitness
from .records import hard_delete, inbox_rule, ndjson


def test_the_cache_changes_no_result(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(ndjson([inbox_rule(1), hard_delete(1)]))
    arguments = ("investigate", tmp_path / "export.json", "--now", NOW_TEXT, "--json", "--case")

    kept = mailwitness(*arguments, tmp_path / "kept")
    off = mailwitness(*arguments, tmp_path / "off", MAILWITNESS_CACHE="off")

    assert kept.code == 1
    assert kept.json() == off.json()


def test_a_pack_comes_back_from_the_cache_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    made = pack.load()
    pack.save(made, {"MailboxActivity | count": "SELECT 1"})

    back = pack.load()

    assert (back.rules, back.parsers, back.digest) == (made.rules, made.parsers, made.digest)


def test_a_pack_with_a_rule_more_still_knows_the_translations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    pack.save(pack.load(), {"MailboxActivity | where Actor == 'nobody else asks this'": "SELECT 2"})
    (tmp_path / "own.yaml").write_bytes(next(iter(loader.rules()))[0].read_bytes())

    more = pack.load(tmp_path / "own.yaml")

    assert more.sql["MailboxActivity | where Actor == 'nobody else asks this'"] == "SELECT 2"


def test_a_cache_that_is_off_is_neither_written_nor_read(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILWITNESS_CACHE", "off")
    before = kept.read_bytes()
    pack.save(pack.load(), {})

    assert _names() == {rule.name for _, rule in loader.rules()}
    assert kept.read_bytes() == before


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)

    pack.save(pack.load(), {})

    assert _names() == {rule.name for _, rule in loader.rules()}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache file that is used, as the program wrote it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    pack.save(pack.load(), {"MailboxActivity": "SELECT 1"})
    found = next((tmp_path / "cache").rglob("pack-*.msgpack"))
    _poison(found)
    assert _names() == {POISON}
    return found


POISON = "a rule that someone else wrote"


def _poison(path: Path) -> None:
    """Rename every rule of a cache file, as someone would who wants to be believed."""
    found = msgspec.msgpack.decode(path.read_bytes(), type=pack.Pack)
    found.rules = [msgspec.structs.replace(rule, name=POISON) for rule in found.rules]
    path.write_bytes(msgspec.msgpack.encode(found))


def _names() -> set[str]:
    return {rule.name for rule in pack.load().rules}


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xc1" * 100, b"\x80", b"\x93\x01\x02\x03"], ids=repr)
def test_a_cache_of_garbage_is_ignored(content: bytes, kept: Path) -> None:
    kept.write_bytes(content)

    assert _names() == {rule.name for _, rule in loader.rules()}


def test_a_cache_that_is_cut_off_is_ignored(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-10])

    assert POISON not in _names()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_cache_that_others_can_write_is_ignored(mode: int, kept: Path) -> None:
    kept.chmod(mode)

    assert POISON not in _names()


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a file away")
def test_a_cache_of_another_owner_is_ignored(kept: Path) -> None:
    os.chown(kept, 12345, 12345)

    assert POISON not in _names()


def test_a_cache_of_other_content_is_ignored(kept: Path, tmp_path: Path) -> None:
    shipped = loader.rules()[0][0].read_bytes()
    (tmp_path / "own.yaml").write_bytes(shipped.replace(b"name: ", b"name: My ", 1))

    names = {rule.name for rule in pack.load(tmp_path / "own.yaml").rules}

    assert kept.exists()
    assert any(name.startswith("My ") for name in names)
    assert POISON not in names
