"""What one table lacks does not silence a rule that another table can feed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from mailwitness import pipeline
from mailwitness.scenarios import emulation, replay, telling


def test_a_mailbox_audit_without_cmdlets_does_not_silence_the_cmdlets_of_the_event_log(
    tmp_path: Path,
) -> None:
    told = [
        telling.tell(emulation.find(name))
        for name in ("server_mailbox_cleared.delegate", "server_audit_weakened.bypass")
    ]
    replay.write(told, tmp_path / "evidence")
    settings = pipeline.Settings(now=dt.datetime(2026, 3, 31, tzinfo=dt.UTC), memory="1GB", threads=1)

    report = pipeline.investigate(
        [tmp_path / "evidence"], tmp_path / "case", settings, pipeline.Progress()
    ).report

    outcomes = {rule["name"]: rule["outcome"] for rule in report["rules"]}
    assert outcomes["Auditing weakened"] == "found"
