from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailwitness.evidence.store import CaseFolder
from mailwitness.evidence.walk import Found, Refused, collect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def names(found: Iterable[Found | Refused], root: Path) -> list[str]:
    return [str(one.path.relative_to(root)) for one in found if isinstance(one, Found)]


def refusals(found: Iterable[Found | Refused]) -> dict[str, Refused]:
    return {one.path.name: one for one in found if isinstance(one, Refused)}


def test_folders_are_walked_in_the_order_of_the_bytes_of_names_with_hidden_files(tmp_path: Path) -> None:
    for name in ("b.csv", "B.csv", ".hidden", "a/z.csv", "a/é.csv", "a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")

    assert names(collect([tmp_path]), tmp_path) == [
        ".hidden",
        "B.csv",
        "a/z.csv",
        "a/é.csv",
        "a.csv",
        "b.csv",
    ]


def test_nothing_is_taken_in_twice(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "in")

    found = collect(
        [tmp_path / "in" / "a.csv", tmp_path / "in", tmp_path / "link", tmp_path / "in" / ".." / "in"]
    )

    assert len(list(found)) == 1


def test_what_macos_leaves_is_named_and_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._a.csv").write_text("x")
    (tmp_path / ".DS_Store").write_text("x")

    found = list(collect([tmp_path]))

    assert names(found, tmp_path) == []
    assert {name: one.blocking for name, one in refusals(found).items()} == {
        "__MACOSX": False,
        ".DS_Store": False,
    }


def test_the_case_folder_is_excluded_even_by_another_spelling(tmp_path: Path) -> None:
    case = CaseFolder(tmp_path / "case")
    (tmp_path / "a.csv").write_text("x")

    found = list(collect([tmp_path], exclude=[case.path / ".." / "case"]))

    assert names(found, tmp_path) == ["a.csv"]
    assert not refusals(found)["case"].blocking


def test_another_case_is_not_counted_as_evidence_but_said(tmp_path: Path) -> None:
    CaseFolder(tmp_path / "earlier")

    found = list(collect([tmp_path]))

    assert names(found, tmp_path) == []
    assert refusals(found)["earlier"].blocking
    assert names(collect([tmp_path / "earlier"]), tmp_path) == ["earlier/case.json"]


def test_links_that_leave_dangle_or_loop_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    outside.mkdir()
    (inside / "folder").mkdir(parents=True)
    (outside / "secret.csv").write_text("x")
    (inside / "z.csv").write_text("x")
    (inside / "file-out").symlink_to(outside / "secret.csv")
    (inside / "folder-out").symlink_to(outside)
    (inside / "dangling").symlink_to("nowhere")
    (inside / "loop").symlink_to("loop")
    (inside / "folder" / "up").symlink_to(inside)
    (inside / "alias.csv").symlink_to("z.csv")

    found = list(collect([inside]))

    assert names(found, inside) == ["z.csv"]
    blocking = {name: one.blocking for name, one in refusals(found).items()}
    assert blocking == {
        "alias.csv": False,
        "dangling": True,
        "file-out": True,
        "folder-out": True,
        "loop": True,
        "up": False,
    }
    assert "out of the folder" in refusals(found)["file-out"].reason
    assert all(one.remedy for one in refusals(found).values())


def test_a_link_into_another_given_folder_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.csv").write_text("x")
    (tmp_path / "a" / "x.csv").symlink_to(tmp_path / "b" / "x.csv")

    found = list(collect([tmp_path / "a", tmp_path / "b"]))

    assert names(found, tmp_path) == ["b/x.csv"]
    assert not refusals(found)["x.csv"].blocking


def test_a_link_the_user_named_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "link").symlink_to("a.csv")

    assert names(collect([tmp_path / "link"]), tmp_path) == ["link"]


def test_pipes_sockets_and_devices_are_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # A socket's path may have only 100 bytes.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        found = refusals(collect([tmp_path, Path("/dev/null")]))

    assert {name: one.blocking for name, one in found.items()} == {
        "pipe": False,
        "socket": False,
        "null": True,
    }


@pytest.mark.parametrize("name", ["missing.csv", "nul\0.csv", "x" * 300, "dangling", "file/below", "loop"])
def test_a_path_that_cannot_be_is_refused_and_the_next_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")

    found = list(collect([tmp_path / name, tmp_path / "file"]))

    assert isinstance(found[0], Refused)
    assert found[0].blocking
    assert found[0].remedy
    assert names(found, tmp_path) == ["file"]


def test_a_file_that_vanishes_while_walking_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text("x")

    walking = collect([tmp_path])
    first = next(walking)
    (tmp_path / "b").unlink()
    rest = list(walking)

    assert first.path.name == "a"
    assert refusals(rest)["b"].blocking
    assert names(rest, tmp_path) == ["c"]


def test_a_folder_exchanged_for_a_link_while_walking_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    (tmp_path / "in" / "a").write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").write_text("x")

    walking = collect([tmp_path / "in"])
    next(walking)
    (tmp_path / "in" / "b").rmdir()
    (tmp_path / "in" / "b").symlink_to(tmp_path / "out")
    rest = list(walking)

    assert names(rest, tmp_path) == []
    assert "out of the folder" in refusals(rest)["b"].reason


@pytest.fixture
def bottomless() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    yield folder
    # Python's own ways to remove a tree, pytest's among them, recurse and fail here.
    subprocess.run(["rm", "-rf", folder], check=True)


def test_folders_nested_deeper_than_a_path_may_be_are_refused_not_a_crash(bottomless: Path) -> None:
    place = os.open(bottomless, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)

    found = list(collect([bottomless]))

    assert len(found) == 1
    assert isinstance(found[0], Refused)
    assert "too long" in found[0].reason


def test_hostile_names_are_found_and_shown_safely(tmp_path: Path) -> None:
    raw = [
        b"\xff\xfe.csv",
        b"a\nb",
        b"\x1b[31m",
        "x\u202efdp.exe".encode(),
        b"-rf",
        b"<script>alert(1)",
        b"=cmd|'",
    ]
    for name in raw:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("x")

    found = list(collect([tmp_path]))

    assert [os.fsencode(one.path.name) for one in found] == sorted(raw)
    assert all(one.display_name.isprintable() for one in found)


def test_a_folder_that_never_rests_is_said(tmp_path: Path) -> None:
    program = (
        "import os, sys\nn = 0\n"
        "while True:\n n += 1; p = sys.argv[1] + '/' + str(n % 50)\n open(p, 'w').close(); os.unlink(p)"
    )
    (tmp_path / "kept").write_text("x")

    said = False
    with subprocess.Popen([sys.executable, "-c", program, tmp_path]) as writer:
        until = time.monotonic() + 20
        while not said and time.monotonic() < until:
            found = list(collect([tmp_path]))
            said = any("some may be missing" in one.reason for one in refusals(found).values())
            assert "kept" in names(found, tmp_path)
        writer.kill()

    assert said
