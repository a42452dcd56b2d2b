"""Promises about the repository itself: what it contains, what it must not, and what stays fresh."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from mailwitness import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "mailwitness"

# Written in pieces, so that this file does not contain what it looks for.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"pypi\." + "org",
            "python" + r"hosted\.",
            "registry" + r"\.(npmjs|yarnpkg|terraform)",
            r"(index|registry)\." + r"(docker|crates)\.io",
            r"(ghcr|quay)\." + "io",
            "deb" + r"\.debian\.org",
            r"--(extra-)?index" + "-url[ =]h",
            r"(?<![\w./~-])/" + r"work/(main|shared)",
            r"(?<![\w./~-])/" + r"opt/(mw|wheels|pypi)",
            r"(?<![\w./~-])/" + r"tmp/(team|bash_jobs)",
        ]
    )
)
SLOW_TO_IMPORT = ("duckdb", "duckdb_kql", "pyarrow", "pandas", "sqlglot", "jinja2", "numpy")


def tracked_files() -> list[Path]:
    run = subprocess.run(
        ["git", "ls-files", "--cached", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [path for name in run.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def error_codes() -> list[str]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind.code for kind in kinds if issubclass(kind, errors.MailwitnessError)]


def test_no_tracked_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    files = tracked_files()

    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        for match in FORBIDDEN.finditer(path.read_bytes().decode("utf-8", "replace"))
    ]

    assert files
    assert found == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_package_is_pinned_and_has_digests(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if line[:1] != "#"))

    faults = [
        entry.splitlines()[0]
        for entry in entries
        if not re.fullmatch(r"[A-Za-z0-9._-]+==\S+( ;[^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+", entry)
    ]

    assert faults == []


def test_the_development_lock_tests_the_versions_that_users_run() -> None:
    pins = re.compile(r"^\S+==\S+", re.MULTILINE)
    run = set(pins.findall((ROOT / "requirements.lock").read_text("utf-8")))
    development = set(pins.findall((ROOT / "requirements-dev.lock").read_text("utf-8")))

    assert run - development == set()


@pytest.mark.skipif(not (PACKAGE / "cli.py").exists(), reason="there is no command line yet")
def test_help_imports_nothing_slow() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['mailwitness', '--help']\n"
        "try:\n    from mailwitness.cli import main; main()\n"
        "except SystemExit:\n    pass\n"
        f"print('SLOW', *[name for name in {SLOW_TO_IMPORT!r} if name in sys.modules])\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
    )

    assert "SLOW" in run.stdout
    assert run.stdout.split("SLOW")[-1].strip() == ""


def test_every_error_code_is_unique_and_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    explained = re.findall(r"^## (MW\d+)$", page, re.MULTILINE)

    assert sorted(error_codes()) == sorted(explained)


def test_the_wheel_carries_content_templates_and_samples(tmp_path: Path) -> None:
    data = {path.relative_to(ROOT / "src").as_posix() for path in tracked_files() if PACKAGE in path.parents}

    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))

    assert data - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_make_lists_its_targets() -> None:
    run = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True)

    assert {"demo", "test", "check", "bench", "golden", "docs"} <= set(
        re.findall(r"make ([a-z]+)", run.stdout.decode())
    )


def test_make_says_what_is_missing_when_there_is_no_python(tmp_path: Path) -> None:
    run = subprocess.run(
        ["make", "demo", "PYTHON=", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert run.returncode != 0
    assert "needs Python 3.11 or newer" in run.stdout


def test_links_between_pages_lead_somewhere() -> None:
    pages = [
        path
        for path in tracked_files()
        if path.suffix == ".md" and not {"samples", "golden"} & set(path.parts)
    ]

    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []
