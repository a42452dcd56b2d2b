"""A run can be repeated, killed and checked: the same evidence gives the same case."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from mailwitness import tables, verification
from mailwitness.content import loader
from mailwitness.evidence.store import CaseFolder
from mailwitness.outcome import VOLATILE
from mailwitness.sources import limits

from .cases import NOW_TEXT, Json, called, environment, investigate, mailwitness, program
from .records import hard_delete, inbox_rule, ndjson, purview_csv

ROOT = Path(__file__).resolve().parents[2]


def stable(report: Json) -> Json:
    """Return a report without what two runs may differ in."""
    return {key: value for key, value in report.items() if key not in VOLATILE}


def contents(case: Path) -> dict[str, tuple[int, str]]:
    """Return, for each table of a case, its number of rows and a digest over them."""
    store = tables.TableStore(case / "tables")
    with contextlib.closing(duckdb.connect()) as connection:
        found = {}
        for name in sorted(store.tables()):
            view = store.view_sql(name, loader.tables()[name].columns)
            row = connection.execute(
                f"SELECT count(*), coalesce(bit_xor(hash(t)), 0)::VARCHAR FROM ({view}) AS t"
            ).fetchone()
            assert row is not None
            found[name] = (int(row[0]), str(row[1]))
    return found


def files(case: Path) -> set[str]:
    """Return the names of all files of a case, without the lock."""
    return {
        str(path.relative_to(case)) for path in case.rglob("*") if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """Return a folder with two small exports for one test alone."""
    return two_exports(tmp_path / "evidence")


def two_exports(folder: Path) -> Path:
    """Write two small exports, one record of which is in both."""
    folder.mkdir()
    (folder / "a.json").write_bytes(ndjson([hard_delete(n) for n in range(5)] + [inbox_rule(1)]))
    (folder / "b.json").write_bytes(ndjson([hard_delete(4), hard_delete(6)]) + b"{damaged\n")
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Json]:
    """Return the evidence, a case that was made from it, and its report; nothing may write there."""
    root = tmp_path_factory.mktemp("ran")
    evidence = two_exports(root / "evidence")
    return evidence, root / "case", investigate(root / "case", evidence)


def test_a_second_run_on_the_same_evidence_adds_nothing(ran: tuple[Path, Path, Json], tmp_path: Path) -> None:
    evidence, case, first = ran
    shutil.copytree(case, tmp_path / "case")
    rows, names = contents(tmp_path / "case"), files(tmp_path / "case")

    second = investigate(tmp_path / "case", evidence)

    assert first == second
    assert rows == contents(tmp_path / "case")
    assert names == files(tmp_path / "case")
    assert rows["OfficeActivity"][0] == 7


def test_a_run_in_a_new_case_gives_the_same_report(ran: tuple[Path, Path, Json], tmp_path: Path) -> None:
    evidence, _, report = ran

    assert stable(report) == stable(investigate(tmp_path / "two", evidence))


def test_the_same_file_given_twice_counts_once(evidence: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    shutil.copy(evidence / "a.json", copy)

    report = investigate(tmp_path / "case", evidence / "a.json", evidence / "a.json", copy, proof="never")

    assert [(item["path"], item["loaded"]) for item in report["intake"]] == [("a.json", 6)]
    assert [item["what"] for item in report["not_evaluated"] if "same bytes" in item["reason"]] == [
        "copy.json"
    ]


def test_new_evidence_keeps_the_names_and_places_of_the_old(evidence: Path, tmp_path: Path) -> None:
    before = investigate(tmp_path / "case", evidence / "b.json")
    more = tmp_path / "0-more.csv"
    more.write_bytes(purview_csv([hard_delete(n) for n in range(10, 13)]))

    after = investigate(tmp_path / "case", more)

    assert [(item["exhibit"], item["path"]) for item in before["intake"]] == [("E1", "b.json")]
    assert [(item["exhibit"], item["path"], item["loaded"]) for item in after["intake"]] == [
        ("E1", "b.json", 2),
        ("E2", "0-more.csv", 3),
    ]
    assert contents(tmp_path / "case")["OfficeActivity"][0] == 5
    assert differing(tmp_path / "case") == []


def test_a_case_copied_elsewhere_with_its_evidence_tells_the_same(evidence: Path, tmp_path: Path) -> None:
    damaged = {"broken.parquet": b"PAR1" + b"x" * 99 + b"PAR1", "empty.json": b"", "words.txt": b"hello\n"}
    with zipfile.ZipFile(evidence / "damaged.zip", "w") as archive:
        for name, content in damaged.items():
            (evidence / f"plain-{name}").write_bytes(content + b" ")
            archive.writestr(name, content)
    first = investigate(tmp_path / "case", evidence)
    shutil.copytree(evidence, tmp_path / "elsewhere" / "evidence")

    second = investigate(tmp_path / "elsewhere" / "case", tmp_path / "elsewhere" / "evidence")

    assert stable(first) == stable(second)


def test_another_number_of_threads_gives_the_same_report(
    ran: tuple[Path, Path, Json], tmp_path: Path
) -> None:
    evidence, _, of_two = ran

    reports = [investigate(tmp_path / f"case{count}", evidence, threads=count) for count in (1, 4)]

    assert stable(reports[0]) == stable(reports[1]) == stable(of_two)


# -- one run at a time -----------------------------------------------------------------------


def test_a_second_run_while_one_works_is_refused(ran: tuple[Path, Path, Json], tmp_path: Path) -> None:
    evidence, case, _ = ran
    shutil.copytree(case, tmp_path / "case")

    with (tmp_path / "case" / ".lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = called("investigate", evidence, "--case", tmp_path / "case")

    assert refused.code == 2
    assert refused.out == ""
    assert refused.err.startswith("mailwitness: MW202: ")
    assert len(refused.err.splitlines()) == 1
    assert called("investigate", evidence, "--case", tmp_path / "case").code in {1, 2}


# -- killed at any moment --------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export that is read as large ones are, with planted chains and damage, and a small archive beside it."""
    folder = tmp_path_factory.mktemp("large") / "evidence"
    command = [
        sys.executable,
        "-m",
        "bench.generate",
        "--records",
        "5500",
        "--damage",
        "0.001",
        "--out",
        str(folder / "export.ndjson"),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for manifest in folder.glob("*.json"):
        manifest.unlink()
    assert (folder / "export.ndjson").stat().st_size > limits.BULK_BYTES
    shutil.make_archive(str(folder / "more"), "zip", root_dir=_small(folder.parent / "small"))
    return folder


def _small(folder: Path) -> Path:
    folder.mkdir()
    (folder / "records.json").write_bytes(ndjson([hard_delete(900_000 + n) for n in range(50)]))
    return folder


@pytest.fixture(scope="module")
def undisturbed(large: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Json, float]:
    """Return the case and report of a run that nobody disturbed, and how long it took in seconds."""
    case = tmp_path_factory.mktemp("undisturbed") / "case"
    started = time.perf_counter()
    ran = mailwitness("investigate", large, "--case", case, "--now", NOW_TEXT)
    seconds = time.perf_counter() - started
    assert ran.code == 1, ran.err
    return case, json.loads((case / "report.json").read_bytes()), seconds


def _killed_after(seconds: float, command: list[str]) -> bool:
    """Start a run, kill it and all it started after a while; tell whether it was still running."""
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    ) as child:
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return True
    return False


@pytest.mark.parametrize("moments", [(0.15, 0.5, 0.85), (0.65, 0.3, 0.95)], ids=str)
def test_a_run_killed_at_any_moment_can_be_repeated(
    moments: tuple[float, ...], large: Path, undisturbed: tuple[Path, Json, float], tmp_path: Path
) -> None:
    calm, expected, seconds = undisturbed
    case = tmp_path / "case"
    command = [*program(), "investigate", str(large), "--case", str(case), "--now", NOW_TEXT]

    # One kill after the other: each run but the first finds what the one before left behind.
    killed = [_killed_after(seconds * moment, command) for moment in moments]
    ran = mailwitness(*command[len(program()) :])

    assert any(killed)
    assert ran.code == 1, ran.err
    assert stable(json.loads((case / "report.json").read_bytes())) == stable(expected)
    assert contents(case) == contents(calm)
    assert files(case) == files(calm)


# -- verification ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a case with an archive, made by the program itself.

    Each verification repeats it; one with its proof is verified above, where evidence is added.
    """
    root = tmp_path_factory.mktemp("verified")
    (root / "evidence").mkdir()
    (root / "evidence" / "a.json").write_bytes(ndjson([hard_delete(n) for n in range(5)] + [inbox_rule(1)]))
    (root / "evidence" / "b.json").write_bytes(ndjson([hard_delete(4), hard_delete(6)]) + b"{damaged\n")
    shutil.make_archive(str(root / "evidence" / "c"), "zip", root_dir=_small(root / "small"))
    given = ("--case", root / "case", "--now", NOW_TEXT, "--proof", "never")
    ran = mailwitness("investigate", root / "evidence", *given)
    assert ran.code in {1, 2}, ran.err
    return root / "case"


@contextlib.contextmanager
def changed_byte(path: Path, place: int) -> Iterator[None]:
    """Change one bit of a file and put it back afterwards."""
    before = path.read_bytes()
    content = bytearray(before)
    content[place] ^= 1
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def differing(case: Path) -> list[str]:
    """Return what a verification finds to differ."""
    return [line.text for line in verification.verify(case) if not line.ok]


def test_an_untouched_case_is_confirmed_and_left_as_it_is(verified: Path) -> None:
    before = {path: path.read_bytes() for path in verified.rglob("*") if path.is_file()}

    ran = called("verify", "--case", verified)

    assert (ran.code, ran.err) == (0, ""), ran.out
    assert {line.split()[0] for line in ran.out.splitlines()} == {"ok"}
    assert before == {path: path.read_bytes() for path in verified.rglob("*") if path.is_file()}


def test_a_changed_and_a_missing_original_are_named_and_no_other(verified: Path) -> None:
    missing = verified.parent / "evidence" / "b.json"
    content = missing.read_bytes()
    missing.unlink()

    with changed_byte(verified.parent / "evidence" / "a.json", 100):
        found = differing(verified)

    missing.write_bytes(content)
    assert [text for text in found if "exhibit E1 (evidence/a.json): its bytes changed" in text], found
    assert (
        "exhibit E2 (evidence/b.json): the original is not at its place, so it could not be hashed" in found
    )
    assert not [text for text in found if "c.zip" in text], found


def test_a_changed_archive_and_a_changed_kept_member_are_named_and_no_other(verified: Path) -> None:
    kept = next(path for path in (verified / "originals").rglob("*") if path.is_file())
    kept.chmod(0o600)

    with changed_byte(verified.parent / "evidence" / "c.zip", 40), changed_byte(kept, 30):
        found = differing(verified)

    assert [text for text in found if "c.zip: its bytes changed" in text], found
    assert [text for text in found if "c.zip/records.json" in text and "changed" in text], found
    assert not [text for text in found if text.startswith(("exhibit E1", "exhibit E2"))], found


@pytest.mark.parametrize(
    ("name", "place", "words"),
    [
        ("case/custody.jsonl", 200, "custody log"),
        ("case/custody.jsonl", -100, "custody log"),
        ("case/report.json", 300, "report.json"),
    ],
)
def test_one_changed_byte_is_found_and_named(name: str, place: int, words: str, verified: Path) -> None:
    with changed_byte(verified.parent / name, place):
        found = differing(verified)

    assert [text for text in found if words in text], found


def test_a_changed_rule_is_found_and_named(verified: Path, tmp_path: Path) -> None:
    rule = tmp_path / "own.yaml"
    rule.write_bytes(min(loader.files("rules")).read_bytes())
    shutil.copytree(verified, tmp_path / "case")
    folder = CaseFolder(tmp_path / "case", create=False)
    folder.describe(rules=[str(rule)])
    pack = {"digest": loader.digest(rule), "rules": 1}

    whole = verification._rules(folder, {"rule_pack": pack})
    with changed_byte(rule, 20):
        changed = verification._rules(folder, {"rule_pack": pack})

    assert (whole.ok, changed.ok) == (True, False)
    assert changed.text.startswith("rule pack: ")


def test_a_changed_verdict_is_found_and_named(verified: Path) -> None:
    report = verified / "report.json"
    before = report.read_bytes()
    report.write_bytes(before.replace(b'"severity": "', b'"severity": "un', 1))

    found = differing(verified)

    report.write_bytes(before)
    assert "custody log: the chain holds, but report.json is not the one it records" in found
    assert [text for text in found if text.startswith("verdict: ") and "severity" in text]


def test_a_report_that_is_no_json_any_more_is_one_sentence(verified: Path) -> None:
    with changed_byte(verified / "report.json", 0):
        ran = called("verify", "--case", verified)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("mailwitness: MW200: ")
    assert len(ran.err.splitlines()) == 1


def test_the_files_of_a_case_are_for_its_owner_only(verified: Path) -> None:
    names = {"report.json", "report.html", "report.md", "case.json", "custody.jsonl", "quarantine.jsonl"}

    assert names <= {path.name for path in verified.iterdir()}
    assert verified.stat().st_mode & 0o077 == 0
