"""The cache of prepared rules saves time and decides nothing."""

from __future__ import annotations

import os
from pathlib import Path
from types import CodeType

import msgspec
import pytest
from jinja2 import Environment
from jinja2.bccache import Bucket

from mailwitness import local_knowledge, tuning
from mailwitness.content import documents, loader, pack
from mailwitness.content import kept as kept_files
from mailwitness.report.compiled import CompiledTemplates

from .cases import NOW_TEXT, mailwitness
from .records import hard_delete, inbox_rule, ndjson


def test_the_cache_changes_no_result(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(ndjson([inbox_rule(1), hard_delete(1)]))
    arguments = ("investigate", tmp_path / "export.json", "--now", NOW_TEXT, "--json", "--case")

    kept = mailwitness(*arguments, tmp_path / "kept")
    off = mailwitness(*arguments, tmp_path / "off", MAILWITNESS_CACHE="off")

    assert kept.code == 1
    assert kept.json() == off.json()


def test_the_oldest_files_of_a_kind_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    monkeypatch.setattr(kept_files, "MOST_BYTES", 250)
    for age, name in enumerate(("pack-a", "pack-b", "pack-c", "template-a")):
        path = kept_files.place(name)
        assert path is not None
        kept_files.write(path, b"x" * 100)
        os.utime(path, (1_000_000 + age, 1_000_000 + age))
    kept_files.write(kept_files.place("pack-d"), b"x" * 100)

    assert sorted(path.name for path in (tmp_path / "mailwitness").iterdir()) == [
        "pack-c",
        "pack-d",
        "template-a",
    ]


def test_a_pack_comes_back_from_the_cache_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    made = pack.load()
    pack.save(made, {"MailboxActivity | count": "SELECT 1"})

    back = pack.load()

    assert (back.rules, back.parsers, back.digest) == (made.rules, made.parsers, made.digest)


def test_what_a_later_run_learns_is_kept_beside_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    pack.save(pack.load(), {"first": "1"})
    one, other = pack.load(), pack.load()

    for run, query in ((one, "one"), (other, "other")):
        run.sql[query] = "2"
        pack.save(run, run.sql)
    (file,) = tmp_path.rglob("pack-*.msgpack")
    written = file.stat().st_ino
    again = pack.load()
    pack.save(again, again.sql)

    assert again.sql.keys() == {"first", "one", "other"}
    assert file.stat().st_ino == written, "nothing was learnt, and the file was written all the same"


def test_a_run_with_parameters_finds_what_the_last_one_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    parameters = (tuning.parse("One message deleted and then purged by the same person.window=1h"),)
    first = local_knowledge.knowledge((), (), parameters)
    pack.save(first, {"asked": "SELECT 3"})

    second = local_knowledge.knowledge((), (), parameters)

    assert second.sql == {"asked": "SELECT 3"}
    assert (second.rules, second.digest) == (first.rules, first.digest)
    assert pack.load().rules != first.rules


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


PARSED = loader.CONTENT / "tables" / "MailboxActivity.yaml"


@pytest.fixture
def parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache file of parsed content files, in a process that has parsed one and now starts again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    monkeypatch.setattr(documents, "_known", documents._Known())
    loader.read_yaml(PARSED)
    documents.save()
    monkeypatch.setattr(documents, "_known", documents._Known())
    return next((tmp_path / "cache").rglob("documents-*.msgpack"))


def test_a_parsed_file_comes_back_from_the_cache_as_it_was(parsed: Path) -> None:
    found = documents.find(PARSED.read_bytes())

    assert found == loader._parsed(PARSED, PARSED.read_bytes())
    assert documents.find(PARSED.read_bytes()) is not found, "whoever changes one changes it for all"
    assert documents.find(PARSED.read_bytes() + b"\n") is None


@pytest.mark.parametrize("content", [b"", b"\xc1" * 100, b"\x80", b"\x93\x01\x02\x03"], ids=repr)
def test_parsed_files_of_garbage_are_parsed_again(content: bytes, parsed: Path) -> None:
    parsed.write_bytes(content)

    assert loader.read_yaml(PARSED)["table"] == "MailboxActivity"


def test_parsed_files_that_others_can_write_are_parsed_again(parsed: Path) -> None:
    parsed.chmod(0o620)

    assert documents.find(PARSED.read_bytes()) is None


def test_what_would_come_back_as_something_else_is_not_kept(parsed: Path) -> None:
    for document in ({"a": {1, 2}}, {"a": 2**70}, {"a": object()}):
        documents.keep(b"file", document)

        assert documents.find(b"file") is None


def test_compiled_templates_are_kept_and_believed_only_from_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    code = compile("said = 'of the template'", "template", "exec")
    CompiledTemplates().dump_bytecode(_bucket(code))
    (file,) = tmp_path.rglob("template-*.bin")

    assert _kept_code() == code
    whole = file.read_bytes()
    file.write_bytes(whole[:5] + b"other modules" + whole[18:])
    assert _kept_code() is None, "made by other code of ours"
    file.write_bytes(whole[: len(whole) // 2])
    assert _kept_code() is None, "cut off"
    file.write_bytes(whole)
    file.chmod(0o602)
    assert _kept_code() is None, "anybody can write it"


def _bucket(code: CodeType | None = None) -> Bucket:
    bucket = Bucket(Environment(), "report", "checksum")  # noqa: S701 - nothing is rendered
    bucket.code = code
    return bucket


def _kept_code() -> CodeType | None:
    bucket = _bucket()
    CompiledTemplates().load_bytecode(bucket)
    return bucket.code
