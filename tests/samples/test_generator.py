"""The benchmark's generator writes what its manifests say, and the same every time."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 6_000  # more than one block, so that the seams between blocks are tested too
SHAPES = ("ndjson", "array", "purview-csv", "search-csv")


def generate(folder: Path, shape: str, processes: int = 1) -> Path:
    path = folder / f"{shape}.{processes}.log"
    command = [sys.executable, "-m", "bench.generate", "--records", str(RECORDS), "--damage", "0.02"]
    command += ["--shape", shape, "--processes", str(processes), "--out", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return path


def manifest(path: Path, name: str) -> Any:
    return json.loads(Path(f"{path}.{name}.json").read_text("utf-8"))


def is_record(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text.decode()), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("shape", SHAPES)
def test_the_number_of_processes_changes_nothing(tmp_path: Path, shape: str) -> None:
    one = generate(tmp_path, shape)

    two = generate(tmp_path, shape, processes=2)

    assert one.read_bytes() == two.read_bytes()
    assert manifest(one, "truth") == manifest(two, "truth")


@pytest.mark.parametrize("shape", SHAPES)
def test_counts_places_and_bytes_of_the_manifests_are_true(tmp_path: Path, shape: str) -> None:
    path = generate(tmp_path, shape)
    content, truth, damage = path.read_bytes(), manifest(path, "truth"), manifest(path, "damage")

    spans = [content[place["offset"] : place["offset"] + place["length"]] for place in damage]
    blank = [place for place in damage if place["kind"] == "blank"]

    assert truth["size_bytes"] == len(content)
    assert truth["records"] + truth["blank"] == RECORDS
    assert truth["events"] + len(damage) == RECORDS
    assert truth["blank"] == len(blank)
    assert truth["events"] == sum(truth["operations"].values())
    assert not any(is_record(span) for span in spans)
    if shape != "array":
        lines = content.splitlines()
        assert spans == [lines[place["line"] - 1] for place in damage]


def test_every_undamaged_line_is_a_record_with_an_id_of_its_own(tmp_path: Path) -> None:
    path = generate(tmp_path, "ndjson")
    damaged = {place["line"] for place in manifest(path, "damage")}

    lines = path.read_bytes().split(b"\n")[:-1]
    whole = [line for number, line in enumerate(lines, 1) if number not in damaged]
    ids = {json.loads(line)["Id"] for line in whole}

    assert len(lines) == RECORDS
    assert len(ids) == len(whole)
    assert 1_500 < sum(map(len, whole)) / len(whole) < 2_000


def test_every_planted_step_lies_where_the_manifest_says(tmp_path: Path) -> None:
    path = generate(tmp_path, "ndjson")
    content = path.read_bytes()

    for chain in manifest(path, "truth")["chains"]:
        records = [json.loads(content[s["offset"] : s["offset"] + s["length"]]) for s in chain["steps"]]

        assert [step["operation"] for step in chain["steps"]] == [r["Operation"] for r in records]
        assert {chain["actor"]} == {record["UserId"] for record in records}
        assert [r["CreationTime"] for r in records] == sorted(r["CreationTime"] for r in records)


@pytest.mark.parametrize(("shape", "cells", "column"), [("purview-csv", 8, 5), ("search-csv", 10, 4)])
def test_whole_csv_rows_hold_whole_records(tmp_path: Path, shape: str, cells: int, column: int) -> None:
    path = generate(tmp_path, shape)
    damaged = {place["line"] for place in manifest(path, "damage")}
    lines = path.read_bytes().split(b"\r\n")

    text = "\r\n".join(line.decode() for number, line in enumerate(lines, 1) if number not in damaged)
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]

    assert len(header) == cells
    assert len(rows) == manifest(path, "truth")["events"]
    assert all(len(row) == cells and is_record(row[column].encode()) for row in rows)
