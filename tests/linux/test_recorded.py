"""The recorded scenarios: real output of real programs loads with counts that add up and shows what was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..case_runs import PUBLIC, run_paths
from .scenarios import EXPECTED, RECORDED, investigate

# Inputs of other people, with what may be quarantined: test annotations, transcripts and binary logs are no records of ours.
FOLDERS = ("auditd-go-libaudit", "auditd-laurel", "maillogs-fail2ban", "plaso", "syslog-beats", "otrf-linux")


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded scenarios are not beside this repository")
def test_every_recorded_scenario_loads_and_shows_what_was_done(tmp_path: Path) -> None:
    found = investigate(tmp_path)

    assert {
        name: EXPECTED[name] - set(found[name]["activities"])
        for name in EXPECTED
        if EXPECTED[name] - set(found[name]["activities"])
    } == {}
    assert {path.name for path in RECORDED.iterdir() if path.name[:1].isdigit()} <= set(found)


@pytest.mark.skipif(not PUBLIC.exists(), reason="the public samples are not beside this repository")
@pytest.mark.parametrize("folder", FOLDERS)
def test_logs_of_other_people_load_with_counts_that_add_up(tmp_path: Path, folder: str) -> None:
    assert run_paths(tmp_path, [PUBLIC / folder])
