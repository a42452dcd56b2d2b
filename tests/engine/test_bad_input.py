"""Bad input gets one clear sentence, the rest is investigated, and nothing leaves its place."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwitness import pipeline

from .cases import NOW, NOW_TEXT, Finished, Json, called, investigate, loaded, mailwitness, through
from .records import compact, guid, hard_delete, ndjson, purview_csv

# -- bad inputs ------------------------------------------------------------------------------


def zipped(**members: bytes) -> bytes:
    """Return a zip archive."""
    return zipped_names({name.replace("__", "."): content for name, content in members.items()})


def zipped_names(members: dict[str, bytes]) -> bytes:
    """Return a zip archive whose members have any name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def record(number: int) -> bytes:
    """Return a file of one record."""
    return ndjson([hard_delete(number)])


BAD_FILES: dict[str, bytes] = {
    "bomb.zip": zipped(zeros__json=b"0" * (30 << 20)),
    "cut.zip": zipped(a__json=record(501) * 400)[:700],
    "empty.json": b"",
    "noise.json": bytes((i * 7919) % 251 for i in range(4000)),
    "deep.json": b"[" * 100_000,
    "deep-object.json": b'{"a":' * 100_000,
    "broken.parquet": b"PAR1" + b"x" * 100 + b"PAR1",
    "words.txt": b"hello\nworld\n",
    "unclosed.csv": b'a,b,"c\n1,2,3\n',
}
GOOD_FILES: dict[str, bytes] = {
    "good.json": record(1),
    "wrong-extension.csv": record(2),
    "no-extension": purview_csv([hard_delete(3)]),
    "names.zip": zipped_names(
        {"line\nend.json": record(4), "\x1b[31mred.json": record(5), "üñï.json": record(6)}
    ),
    "deep-member.json": b"\n".join(
        [
            record(7).strip(),
            compact(hard_delete(8, Folder=None))[:-1].encode()
            + b',"Folder":'
            + b"[" * 100_000
            + b"]" * 100_000
            + b"}",
            record(9),
        ]
    ),
    "twice.json": b'{"Operation":"HardDelete","Operation":"HardDelete",' + record(10)[1:],
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Investigate every bad input together with good ones."""
    root = tmp_path_factory.mktemp("bad")
    folder = root / "evidence"
    folder.mkdir()
    for name, content in (BAD_FILES | GOOD_FILES).items():
        (folder / name).write_bytes(content)
    (folder / "traversal.zip").write_bytes(
        zipped_names(
            {"../../escaped.json": record(20), "/absolute.json": record(21), "fine.json": record(22)}
        )
    )
    (folder / "loop").symlink_to("loop")
    (folder / "up").symlink_to("..")
    (folder / "dangling").symlink_to("nothing-here")
    os.mkfifo(folder / "pipe")
    locked = folder / "locked.json"
    locked.write_bytes(record(30))
    locked.chmod(0)
    ran = mailwitness(
        "investigate", folder, root / "missing.json", "--case", root / "case", "--now", NOW_TEXT
    )
    yield Finished(root / "case", ran)
    locked.chmod(0o600)


def stated_about(found: Finished, name: str) -> list[Json]:
    """Return what the report says could not be evaluated of one file; folded entries name several."""
    return [
        item
        for item in found.report["not_evaluated"]
        if any(what.endswith(f"/{name}") or what == name for what in item["what"].split("; "))
    ]


BAD_NAMES = [
    *({"bomb.zip": "bomb.zip/zeros.json"}.get(name, name) for name in BAD_FILES),
    *("loop", "up", "dangling", "pipe", "missing.json"),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_input_is_named_with_reason_and_remedy(bad: Finished, name: str) -> None:
    stated = stated_about(bad, name)
    kept = [item for item in bad.report["intake"] if name in item["path"] and item["quarantined"]]

    assert len(stated) == 1 or (not stated and kept)
    assert all(item["reason"] and item["remedy"].endswith((".", "`")) for item in stated)


def test_every_bad_input_is_named_however_many_there_are(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    for number in range(40):
        (folder / f"notes{number}.txt").write_bytes(b"nothing of interest %d\n" % number)

    report = investigate(tmp_path / "case", folder)

    named = {name for item in report["not_evaluated"] for name in item["what"].split("; ")}
    assert {f"evidence/notes{number}.txt" for number in range(40)} <= named


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read every file")
def test_an_unreadable_file_is_named_with_reason_and_remedy(bad: Finished) -> None:
    stated = stated_about(bad, "locked.json")

    assert [item["blocking"] for item in stated] == [True]


def test_bad_inputs_do_not_keep_good_ones_from_being_investigated(bad: Finished) -> None:
    ran = called(
        "query",
        "OfficeActivity | project OfficeId | order by OfficeId asc",
        "--case",
        bad.folder,
        "--format",
        "json",
    )
    ids = {row["OfficeId"] for row in ran.json()}

    assert {guid(n) for n in (1, 2, 3, 4, 5, 6, 7, 9, 10)} <= ids


def test_no_member_leaves_the_case_folder(bad: Finished) -> None:
    outside = [path for path in bad.folder.parent.rglob("*escaped*") if bad.folder not in path.parents]

    assert outside == []
    assert not Path("/absolute.json").exists()
    assert [item for item in bad.report["not_evaluated"] if "escaped.json" in item["what"]] or [
        item for item in bad.report["intake"] if "escaped.json" in item["path"]
    ]


def test_a_deeply_nested_value_costs_at_most_its_record(bad: Finished) -> None:
    taken = next(item for item in bad.report["intake"] if item["path"].endswith("deep-member.json"))

    assert taken["records"] == 3
    assert taken["loaded"] + taken["quarantined"] == 3
    assert taken["loaded"] >= 2


def test_member_names_are_shown_escaped(bad: Finished) -> None:
    names = [item["path"] for item in bad.report["intake"] if "names.zip/" in item["path"]]

    assert sorted(names) == [
        "evidence/names.zip/\\x1b[31mred.json",
        "evidence/names.zip/line\\x0aend.json",
        "evidence/names.zip/üñï.json",
    ]


def test_bad_inputs_leave_no_traceback_and_no_other_noise(bad: Finished) -> None:
    assert bad.ran.err == ""
    assert bad.ran.code in {1, 2}
    assert "Traceback" not in bad.ran.out


def test_counts_add_up_for_every_exhibit_of_a_bad_folder(bad: Finished) -> None:
    for item in bad.report["intake"]:
        assert item["records"] == item["loaded"] + item["duplicates"] + item["quarantined"]


@pytest.mark.parametrize("name", ["empty.json", "words.txt", "deep.json"])
def test_a_bad_input_alone_is_not_evaluated_and_never_clear(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name])

    report = investigate(tmp_path / "case", tmp_path / name)

    assert report["summary"]["outcome"] == "not_evaluated"


# -- restless inputs -------------------------------------------------------------------------


def test_a_folder_that_is_written_to_is_investigated_or_named(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "still.json").write_bytes(record(1))
    live = folder / "live.json"
    live.write_bytes(record(2))
    done = threading.Event()

    def write_on() -> None:
        number = 3
        while not done.wait(0.0005):
            with live.open("ab") as stream:
                stream.write(record(number))
            (folder / f"new{number}.json").write_bytes(record(number))
            number += 1

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        report = investigate(tmp_path / "case", folder)
    finally:
        done.set()
        writer.join()

    paths = {item["path"]: item for item in report["intake"]}
    stated = " ".join(item["what"] for item in report["not_evaluated"] if item["blocking"])
    assert paths["evidence/still.json"]["loaded"] == 1
    assert "live.json" in stated or paths["evidence/live.json"]["sha256"]
    assert all(
        item["records"] == item["loaded"] + item["duplicates"] + item["quarantined"]
        for item in report["intake"]
    )


def test_a_file_that_changes_while_it_is_loaded_is_no_evidence(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_bytes(record(1))

    class Intruder(pipeline.Progress):
        def stage(self, name: str, done: int = 0, total: int = 0) -> None:
            if name == "detecting":
                export.write_bytes(record(2))

    pipeline.investigate([export], tmp_path / "case", pipeline.Settings(now=NOW), Intruder())

    report = json.loads((tmp_path / "case" / "report.json").read_bytes())
    stated = [item for item in report["not_evaluated"] if item["what"] == "export.json"]
    assert [item["blocking"] for item in stated] == [True]
    assert "changed" in stated[0]["reason"]
    assert report["intake"][0]["sha256"] == ""


@pytest.mark.parametrize("way", ["python", "sql"])
def test_a_line_of_eighty_megabytes_is_quarantined_and_the_rest_loaded(way: str) -> None:
    line = (
        compact(hard_delete(2, AffectedItems=None))[:-1].encode() + b',"Pad":"' + b"x" * (80 << 20) + b'"}\n'
    )

    with through(way), loaded(record(1) + line + record(3)) as found:
        rows = [(row["OfficeId"], row["_Position"]) for row in found.rows()]
        counts = found.counts()
        kept = [(item["record"], item["line"], item["length"]) for item in found.quarantine()]

    assert counts == (3, 2, 0, 1)
    assert rows == [(guid(1), 0), (guid(3), 2)]
    assert kept == [(1, 2, len(line) - 1)]


@pytest.mark.parametrize("size", [(4 << 20) - 1024, 4 << 20, (8 << 20) + 1])
def test_a_line_as_long_as_what_the_reader_holds_is_a_row_between_others(size: int) -> None:
    start = compact(hard_delete(2))[:-1].encode() + b',"Pad":"'
    line = start + b"x" * (size - len(start) - 3) + b'"}\n'

    with through("sql"), loaded(record(1) + line + record(3)) as found:
        rows = [(row["OfficeId"], row["_Position"]) for row in found.rows()]
        counts = found.counts()

    assert rows == [(guid(1), 0), (guid(2), 1), (guid(3), 2)]
    assert counts == (3, 3, 0, 0)


@pytest.mark.parametrize("way", ["python", "sql"])
@pytest.mark.parametrize("depth", [100, 1000, 5000, 100_000])
def test_any_depth_of_nesting_costs_at_most_its_record(depth: int, way: str) -> None:
    deep = (
        compact(hard_delete(2, Folder=None))[:-1].encode()
        + b',"Folder":'
        + b'{"a":' * depth
        + b"1"
        + b"}" * depth
        + b"}\n"
    )

    with through(way), loaded(record(1) + deep + record(3)) as found:
        ids = {row["OfficeId"] for row in found.rows()}
        seen, whole, twice, lost = found.counts()

    assert {guid(1), guid(3)} <= ids
    assert (seen, whole + twice + lost) == (3, 3)


def test_fields_of_evidence_named_like_ours_cannot_forge_places() -> None:
    forged: dict[str, Any] = hard_delete(1) | {
        "_mw_exhibit": "E9",
        "_mw_position": 77,
        "_Exhibit": "E9",
        "_Position": 77,
        "_State": 2,
    }

    for way in ("python", "sql"):
        with through(way), loaded(ndjson([hard_delete(0), forged])) as found:
            assert [(row["_Exhibit"], row["_Position"]) for row in found.rows()] == [("E1", 0), ("E1", 1)]


# -- too little memory -----------------------------------------------------------------------


def test_too_little_memory_is_said_with_its_remedy(tmp_path: Path) -> None:
    evidence = tmp_path / "log.ndjson"
    evidence.write_bytes(record(1))

    ran = mailwitness("investigate", str(evidence), "--case", str(tmp_path / "case"), "--memory", "4MB")

    assert ran.code == 2
    said = (
        "mailwitness: MW601: the database needs more memory than it may take. "
        "Run it again with a larger --memory; what has been loaded stays loaded."
    )
    assert said in ran.err.splitlines()
    assert "Traceback" not in ran.err
