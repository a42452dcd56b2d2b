from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mailwitness.errors import CaseError, CaseLocked, NotACase
from mailwitness.evidence.store import CaseFolder, is_case_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_folder_becomes_a_case_that_can_be_opened_again(tmp_path: Path) -> None:
    made = CaseFolder(tmp_path / "deep" / "case")

    opened = CaseFolder(tmp_path / "deep" / "case", create=False)

    assert is_case_folder(opened.path)
    assert all(folder.is_dir() for folder in (made.originals, made.index, made.tables))
    assert made.path.stat().st_mode & 0o077 == 0


def test_a_folder_with_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(NotACase) as caught:
        CaseFolder(tmp_path)

    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "other"}', '{"kind": 1}', "[" * 9999])
def test_a_foreign_case_json_is_no_marker(tmp_path: Path, content: str) -> None:
    (tmp_path / "case.json").write_text(content)

    with pytest.raises(NotACase):
        CaseFolder(tmp_path)


def test_a_pipe_or_link_as_marker_is_no_marker_and_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "a" / "case.json")
    (tmp_path / "b" / "case.json").symlink_to("/dev/zero")

    assert not is_case_folder(tmp_path / "a")
    assert not is_case_folder(tmp_path / "b")


def test_a_missing_case_is_not_made_by_opening(tmp_path: Path) -> None:
    with pytest.raises(NotACase):
        CaseFolder(tmp_path / "none", create=False)
    with pytest.raises(NotACase):
        CaseFolder(tmp_path, create=False)

    assert not (tmp_path / "none").exists()


def test_a_case_killed_while_its_marker_was_written_can_be_made_again(tmp_path: Path) -> None:
    (tmp_path / "case.json.tmp-0123").write_text("{")

    case = CaseFolder(tmp_path)
    (tmp_path / "work.tmp-77" / "deep").mkdir(parents=True)
    (tmp_path / "work.tmp-77" / "deep" / "half.parquet").write_text("x")
    with case.lock():
        pass

    assert not list(tmp_path.glob("*.tmp-*"))


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(CaseError):
        CaseFolder(tmp_path / "file")


def test_a_case_with_a_link_for_a_folder_is_refused(tmp_path: Path) -> None:
    case = CaseFolder(tmp_path / "case")
    case.tables.rmdir()
    case.tables.symlink_to(tmp_path)

    with pytest.raises(NotACase):
        CaseFolder(tmp_path / "case")


def test_facts_about_the_case_are_added_and_the_marker_stays(tmp_path: Path) -> None:
    case = CaseFolder(tmp_path / "case")

    case.describe(title="Contoso", kind="forged")
    case.describe(runs=2)

    assert case.description() == {
        "title": "Contoso",
        "runs": 2,
        "kind": "mailwitness case",
        "schema_version": 1,
    }


def test_a_failed_write_leaves_the_old_file_and_no_leftover(tmp_path: Path) -> None:
    case = CaseFolder(tmp_path / "case")
    case.write_bytes("report.md", b"old")
    (case.path / "index" / "x").mkdir()

    with pytest.raises(CaseError):
        case.write_bytes("index/x", b"new")
    with pytest.raises(ValueError, match="JSON"):
        case.write_json("report.md", float("nan"))

    assert (case.path / "report.md").read_bytes() == b"old"
    assert not list(case.path.rglob("*.tmp-*"))


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x"])
def test_a_name_outside_the_case_is_a_programming_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="inside"):
        CaseFolder(tmp_path / "case").write_bytes(name, b"")


def test_a_second_run_on_the_same_case_is_told_who_holds_it(tmp_path: Path) -> None:
    case = CaseFolder(tmp_path / "case")

    with case.lock(), pytest.raises(CaseLocked, match=str(os.getpid())), CaseFolder(tmp_path / "case").lock():
        pass

    with case.lock():
        pass


def test_a_killed_run_gives_the_lock_back_and_its_leftovers_are_cleared(tmp_path: Path) -> None:
    program = (
        "import sys, time; from mailwitness.evidence.store import CaseFolder\n"
        "from pathlib import Path\n"
        "case = CaseFolder(Path(sys.argv[1]))\n"
        "with case.lock():\n"
        "    case.temp_name('tables/half').write_bytes(b'half'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "case"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(CaseLocked), CaseFolder(tmp_path / "case").lock():
            pass
        child.send_signal(signal.SIGKILL)
    case = CaseFolder(tmp_path / "case")
    assert len(list(case.tables.iterdir())) == 1

    with case.lock():
        assert not list(case.tables.iterdir())
