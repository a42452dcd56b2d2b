"""The recorded scenarios: each attack is found with its actor and mailbox, no benign one is above low, silence is said."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from mailwitness.content.schemas import SEVERITIES
from mailwitness.pipeline import Progress, Settings, investigate

from ..case_runs import NOW
from .scenarios import NO_LOG, RECORDED, Row, labels, logs, names, problem, report_of

pytestmark = pytest.mark.skipif(
    not RECORDED.exists(), reason="the recorded scenarios are not beside this repository"
)

# Investigated by themselves, because what they show must not come from another scenario's records.
ALONE = [
    "03-imap-benign-read-delete-one",
    "07c-doveadm-cli-quiet",
    "36-chattr-immutable-block",
    "37-chattr-append-only",
    "47-benign-autoexpunge",
    "47b-benign-cron-doveadm",
    "55-imap-literal-sessions-no-mail_log",
    "71-fanotify",
]


@cache
def alone(name: str) -> Row:
    """Return the report of a scenario by itself."""
    return report_of(logs(name))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """Findings of one case with all scenarios, by the scenario whose records prove them."""
    paths = [path for name in labels() if name not in NO_LOG for path in logs(name)]
    case = tmp_path_factory.mktemp("together") / "case"
    report = investigate(paths, case, Settings(now=NOW), Progress()).report
    places = {row["exhibit"]: row["path"] for row in report["intake"]}
    given = json.loads((case / "case.json").read_text("utf-8"))["exhibits"]
    scenario = {row["id"]: Path(row["location"]).parent.name for row in given}
    assert set(places) == set(scenario)
    found: dict[str, list[Row]] = {name: [] for name in labels()}
    for finding in (finding for case_ in report["cases"] for finding in case_["findings"]):
        for exhibit in {row["exhibit"] for row in finding["rows"]}:
            found[scenario[exhibit]].append(finding)
    return found


def test_every_recorded_attack_is_found_from_the_logs_that_were_written(
    together: dict[str, list[Row]],
) -> None:
    attacks = [
        label
        for label in labels().values()
        if label["label"] == "malicious" and label["scenario"] not in NO_LOG
    ]

    missed = [
        label["scenario"]
        for label in attacks
        if not any(names(finding, label) for finding in together[label["scenario"]])
    ]

    # Fifty attacks on one host in two hours share findings, which keep the first of their records: such ones are looked at alone.
    assert [name for name in missed if problem(labels()[name], alone(name))] == []
    assert len(attacks) + len(NO_LOG) == 53


@pytest.mark.parametrize("name", ALONE)
def test_a_scenario_by_itself_has_the_right_outcome(name: str) -> None:
    label, report = labels()[name], alone(name)

    assert problem(label, report) == ""
    if label["label"] == "benign":
        assert {case["severity"] for case in report["cases"]} <= {"informational", "low"}


@pytest.mark.parametrize("name", ["10-maildir-unlink", "07-doveadm-expunge-all"])
def test_a_mail_log_alone_says_that_this_hosts_logging_could_not_have_shown_it(name: str) -> None:
    report = report_of([RECORDED / "02-imap-expunge-all" / "mail.log", RECORDED / name / "mail.log"])

    reasons = [row["reason"] for row in report["not_evaluated"]]
    silent = [row for row in report["rules"] if row["name"].startswith("Mail store or message file deleted")]

    assert any("this host's logging could not have shown it" in reason for reason in reasons)
    assert any("audit records of files in mail stores" in reason for reason in reasons)
    assert [row["outcome"] for row in silent] == ["not_evaluated"]


def test_a_benign_scenario_is_not_above_low_among_all_others(together: dict[str, list[Row]]) -> None:
    benign = [label["scenario"] for label in labels().values() if label["label"] == "benign"]

    # A finding that also rests on another scenario's records judges that one.
    worst = {
        name: max(
            (
                SEVERITIES.index(finding["severity"])
                for finding in together[name]
                if own(finding, name, together)
            ),
            default=0,
        )
        for name in benign
    }

    assert {name: level for name, level in worst.items() if level > SEVERITIES.index("low")} == {}
    assert len(benign) == 5


def own(finding: Row, name: str, together: dict[str, list[Row]]) -> bool:
    """Tell whether no other scenario's records support a finding."""
    return not any(finding in listed for other, listed in together.items() if other != name)
