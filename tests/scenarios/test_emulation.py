"""What `emulate` writes is the same every time, is read by the source it is written for, and a deed stays in its folder."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import pytest

from mailwitness import pipeline
from mailwitness.cli import app
from mailwitness.content import loader
from mailwitness.errors import ConfigError, ContentError
from mailwitness.scenarios import description, emulation, live, replay, telling
from mailwitness.scenarios.filling import ABSENT, Filler

NAME = "export_then_removal.5m"
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="deeds are done on Linux only")


def run(*arguments: str) -> int:
    return int(
        app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value") or 0
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_scenario_gives_the_same_bytes(tmp_path: Path) -> None:
    run("emulate", NAME, "--out", str(tmp_path / "one"))
    run("emulate", NAME, "--out", str(tmp_path / "two"))

    assert contents(tmp_path / "one") == contents(tmp_path / "two") != {}


def test_what_must_be_found_stands_beside_the_evidence(tmp_path: Path) -> None:
    run("emulate", NAME, "--out", str(tmp_path / "out"))

    expected = json.loads((tmp_path / "out" / "expected.json").read_text(encoding="utf-8"))
    assert expected["expect"]["order"] == ["export", "removal"]
    assert expected["steps"] == {"export": "2026-03-02T09:00:00Z", "removal": "2026-03-02T09:05:00Z"}
    assert [path.name for path in (tmp_path / "out" / "evidence").iterdir()] == ["exchange"]


def test_nothing_is_written_into_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(ConfigError, match="not empty"):
        emulation.write(NAME, tmp_path)

    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_an_unknown_name_is_said_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no scenario"):
        emulation.write("nothing_like_it", tmp_path / "out")


def test_every_scenario_is_listed_with_what_it_stands_for(capsys: pytest.CaptureFixture[str]) -> None:
    run("emulate", "--list", "--json")

    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == set(telling.instances())
    assert {name for row in rows for name in row["covers"]} == set(description.catalogue())


def one_of_each_dialect() -> list[telling.Told]:
    """Return attacks until every dialect is written once."""
    seen: set[tuple[str, str]] = set()
    found = []
    for instance in telling.instances().values():
        told = telling.tell(instance)
        if set(told.records) - seen:
            seen |= set(told.records)
            found.append(told)
    return found


def test_every_dialect_is_read_by_the_source_it_names_without_a_damaged_record(tmp_path: Path) -> None:
    told = one_of_each_dialect()
    used = {key for one in told for key in one.records}
    replay.write(told, tmp_path / "evidence")
    settings = pipeline.Settings(
        now=dt.datetime(2026, 3, 31, tzinfo=dt.UTC), memory="1GB", threads=1, proof="never"
    )

    report = pipeline.investigate(
        [tmp_path / "evidence"], tmp_path / "case", settings, pipeline.Progress()
    ).report

    names = {source.id: source.name for source in loader.sources()}
    wanted = {
        f"evidence/{dialect.name}": names[dialect.source]
        for feed, item in description.feeds().items()
        for name, dialect in item.dialects.items()
        if (feed, name) in used
    }
    assert {row["path"]: row["source"] for row in report["intake"]} == wanted
    assert report["quarantine"] == []


@pytest.mark.parametrize("name", ["export_then_removal.61m", "security_notice_deleted.german"])
def test_a_scenario_alone_is_judged_as_among_others(name: str) -> None:
    alone = next(iter(replay.replay([telling.instances()[name]], threads=1)))
    (batch,) = replay.batches([name, f"{name.split('.', maxsplit=1)[0]}.{alone_twin(name)}"])

    among = next(iter(replay.replay(batch, threads=1)))

    assert (alone.problem, alone.rules, alone.severity) == (among.problem, among.rules, among.severity)


def alone_twin(name: str) -> str:
    twins = [
        item
        for item in telling.instances()
        if item.startswith(name.split(".", maxsplit=1)[0] + ".") and item.endswith(".twin")
    ]
    return twins[0].split(".", 1)[1]


# -- placeholders ------------------------------------------------------------------------------------------------


def test_a_text_that_is_one_placeholder_keeps_its_type_and_absent_members_are_left_out() -> None:
    filler = Filler({"count": 3, "who": {"upn": "eva@contoso.example"}}, "seed")

    assert filler.fill({"a": "{count}", "b": "n={count}", "c": "{who.upn}", "d": "{nobody?}"}) == {
        "a": 3,
        "b": "n=3",
        "c": "eva@contoso.example",
    }
    assert filler.fill("{nobody?}") is ABSENT


def test_a_placeholder_without_a_value_is_an_error_with_its_name() -> None:
    with pytest.raises(ContentError, match=r"nothing says what \{victim\} is"):
        Filler({}, "seed").fill("{victim}")


def test_a_placeholder_that_names_itself_ends() -> None:
    with pytest.raises(ContentError, match="names itself"):
        Filler({"a": "{b}", "b": "{a}x"}, "seed").fill("x{a}")


def test_labelled_ids_agree_between_records_and_others_do_not() -> None:
    one, two = Filler({}, "seed", record="1"), Filler({}, "seed", record="2")

    assert one.fill("{guid:session}") == two.fill("{guid:session}")
    assert one.fill("{guid}") != two.fill("{guid}")
    assert one.fill("{serial:record}") == one.fill("{serial:record}") != two.fill("{serial:record}")


def test_an_audit_argument_with_a_blank_is_written_in_hex() -> None:
    assert (
        Filler({"c": "rm '/var/mail/bob two'"}, "seed").fill("{c:execve}")
        == 'argc=2 a0="rm" a1=2F7661722F6D61696C2F626F622074776F'
    )


# -- deeds --------------------------------------------------------------------------------------------------------


@linux_only
@pytest.mark.parametrize(
    "name",
    [
        *("rm", "truncate", "copy_null", "overwrite_spool", "sed", "move_over", "rm_maildir", "find_delete"),
        *("cat_null", "python_mailbox", "log_truncate", "log_dd", "log_sed"),
    ],
)
def test_a_deed_changes_mail_below_its_folder_and_nothing_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "beside.txt").write_text("mine")

    done = live.perform(name, tmp_path / "scratch", [])

    made = tmp_path / "reference"
    live.prepare(live.safe(made))
    assert contents(tmp_path / "scratch") != contents(made)
    assert (tmp_path / "beside.txt").read_text() == "mine"
    assert not done.is_seen


@linux_only
def test_a_log_that_names_the_file_has_seen_the_deed_and_another_has_not(tmp_path: Path) -> None:
    seen, blind = tmp_path / "seen.log", tmp_path / "blind.log"
    seen.write_text("old line\n")
    blind.write_text("old line\n")
    scratch = tmp_path / "scratch"
    deed = live.deeds()["truncate"]
    places = live.prepare(live.safe(scratch))
    trace = deed.trace.replace("{mbox}", places["mbox"])
    before = {seen: seen.stat().st_size, blind: blind.stat().st_size}
    with seen.open("a") as handle:
        handle.write(f"type=PATH name={trace.encode().hex().upper()} nametype=NORMAL\n")

    done = live.watched(["truncate"], trace, before, seconds=0)

    assert done.is_seen
    assert any(line.startswith(f"  seen by {seen}") for line in done.lines)
    assert f"  NOT seen by {blind}" in done.lines


@linux_only
@pytest.mark.parametrize("kind", ["exists", "dots", "link"])
def test_a_folder_that_somebody_may_have_prepared_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    given = {
        "exists": tmp_path / "real",
        "dots": tmp_path / "real" / ".." / "x",
        "link": tmp_path / "link" / "x",
    }[kind]

    with pytest.raises(ConfigError):
        live.perform("rm", given, [])

    assert list((tmp_path / "real").iterdir()) == []
    assert not (tmp_path / "x").exists()


@linux_only
def test_a_folder_named_like_a_placeholder_or_a_command_is_only_a_name(tmp_path: Path) -> None:
    scratch = tmp_path / '{home}$(touch pwned)`id`"x'

    live.perform("overwrite_spool", scratch, [])

    assert (scratch / "spool" / "bob.mbox").read_bytes() != (scratch / "spool" / "eva.mbox").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [scratch.name]
    assert sorted(path.name for path in scratch.iterdir()) == ["home", "spool"]
