"""What a case is judged to be: explanations, tickets, watchlists, parameters, baselines, severity."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mailwitness import (
    activities,
    baselines,
    cases,
    content_check,
    content_lint,
    severity,
    tuning,
    verification,
)
from mailwitness.content import exclusions, loader
from mailwitness.errors import ConfigError
from mailwitness.models import Explained, Finding
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.settings import settings as chosen_settings

from .records import Record, guid, hard_delete, inbox_rule

NOW = dt.datetime(2026, 3, 31, 12, 0, tzinfo=dt.UTC)
PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "data" / "public"
ADA = "ada@contoso.example"
TICKETS = "number,assigned_to,cmdb_ci,start_date,end_date,state,approval,approved_by\n"
LISTS = "value,reason,owner,expires,mailbox,address,client\n"


def export_event(operation: str, time: str, number: int) -> Record:
    """Return a record of an eDiscovery export, as the Management Activity API writes it."""
    return {
        "CreationTime": time,
        "Id": guid(number),
        "Operation": operation,
        "RecordType": 24,
        "ResultStatus": "Success",
        "UserKey": "1003",
        "UserType": 0,
        "Version": 1,
        "Workload": "SecurityComplianceCenter",
        "UserId": ADA,
        "ObjectId": "case-42_Export",
        "ClientIP": "198.51.100.9",
    }


EXPORT = [
    export_event("SearchExported", "2026-03-02T10:00:00", 1),
    export_event("RemovedSearchExported", "2026-03-02T10:40:00", 2),
]


def run(folder: Path, records: list[Record], *, tickets: str = "", **given: Any) -> dict[str, Any]:
    """Investigate records with tickets beside them; return the report."""
    evidence = folder / "evidence"
    evidence.mkdir()
    (evidence / "audit.json").write_text(json.dumps(records), encoding="utf-8")
    if tickets:
        (evidence / "changes.csv").write_text(TICKETS + tickets, encoding="utf-8")
    settings = Settings(now=NOW, **{"proof": "never", **given})
    return investigate([evidence], folder / "case", settings, Progress()).report


def watchlists(folder: Path, name: str, rows: str) -> Path:
    """Write one watchlist and return its folder."""
    lists = folder / "lists"
    lists.mkdir(exist_ok=True)
    (lists / f"{name}.csv").write_text(LISTS + rows, encoding="utf-8")
    return lists


def answer(case: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the answer to one question of a case."""
    found: dict[str, Any] = next(one for one in case["questions"] if one["id"] == name)
    return found


def finding(**changes: Any) -> Finding:
    """Return a finding; the arguments say what matters."""
    plain = Finding(
        rule="r", title="t", severity="medium", confidence="medium", phase="clearing", techniques=(),
        time=dt.datetime(2026, 3, 2, 8), last_time=None, actor="eva@contoso.example", actor_type="Owner",  # noqa: DTZ001
        mailbox="eva@contoso.example", address="", session="", host="", description="", reasons=(),
        evidence={"Activity": "SoftDeleted"}, rows=(("E1", 1),),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


AUTHORISED = (Explained(id="x", name="n", verdict="authorised", reason="a ticket", reference="change C1"),)
NOISE = (Explained(id="y", name="m", verdict="noise", reason="software did it"),)

# -- tickets -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the report of an export and its removal, with a rule whose watchlist nobody gave."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "r.yaml").write_text(RULE_WITH_LIST, encoding="utf-8")
    return run(folder, [*EXPORT, hard_delete(1)], rules=(folder / "r.yaml",))


@pytest.fixture(scope="module")
def unfit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the report of an export with tickets and watchlists of which nothing fits.

    All together: a ticket or a row that fitted would explain a finding, and its number or the rows that were not used say which.
    """
    folder = tmp_path_factory.mktemp("unfit")
    tickets = [f"CHG{number},{ticket}\n" for number, ticket in enumerate(UNFIT.values())]
    rows = [f"{row}\n" for row in (ELSEWHERE, *(row for row, _ in UNUSED))]
    lists = watchlists(folder, "export_administrators", "".join(rows))
    return run(folder, EXPORT, tickets="".join(tickets), watchlists=(lists,))


def test_an_export_removed_by_its_maker_is_loud_without_a_ticket(plain: dict[str, Any]) -> None:
    report = plain

    assert [case["findings"][0]["actor"] for case in report["cases"][:1]] == [ADA]
    assert report["cases"][0]["severity"] in {"high", "critical"}
    assert report["cases"][0]["verdict"] in {"suspicious", "attack"}


def test_an_approved_ticket_authorises_what_its_assignee_did_upon_its_object(tmp_path: Path) -> None:
    ticket = f"CHG42,{ADA},case-42,2026-03-02 09:00,2026-03-02 17:00,closed,approved,bo@contoso.example\n"

    report = run(tmp_path, EXPORT, tickets=ticket)

    case = report["cases"][0]
    assert (case["severity"], case["verdict"]) == ("low", "authorised")
    assert any("change CHG42" in reason for reason in case["reasons"])
    assert all(item["rated"] and item["explanations"] for item in case["findings"])
    assert report["summary"]["outcome"] != "found"
    # The decision ends with the reason that authorises it, and nothing is planned against it.
    justified = answer(case, "legitimate_administration")
    assert justified["answer"] == "yes"
    assert "change CHG42" in justified["sentence"]
    assert "from 2026-03-02 10:00 to 2026-03-02 10:40 UTC" in justified["visibility"]
    assert case["escalation"]["decision"] == "close"
    assert justified["sentence"] in case["escalation"]["reasons_against"]
    assert case["escalation"]["reasons_for"] == []
    assert case["plan"] == []


# Each lacks one thing of the ticket that authorises, in the test above.
UNFIT = {
    "actor": "bo@contoso.example,case-42,2026-03-02 09:00,2026-03-02 17:00,closed,approved,",
    "object": f"{ADA},case-43,2026-03-02 09:00,2026-03-02 17:00,closed,approved,",
    "window": f"{ADA},case-42,2026-03-02 11:00,2026-03-02 17:00,closed,approved,",
    "rejected": f"{ADA},case-42,2026-03-02 09:00,2026-03-02 17:00,closed,rejected,",
    "approved by himself": f"{ADA},case-42,2026-03-02 09:00,2026-03-02 17:00,closed,approved,{ADA}",
    "a year long": f"{ADA},case-42,2026-01-01 09:00,2026-12-02 17:00,closed,approved,",
    "no object": f"{ADA},,2026-03-02 09:00,2026-03-02 17:00,closed,approved,",
}


def test_a_ticket_that_does_not_fit_explains_nothing(unfit: dict[str, Any]) -> None:
    report, case = unfit, unfit["cases"][0]

    assert case["severity"] in {"high", "critical"}
    assert [item["explanations"] for item in case["findings"] if item["explanations"]] == []
    assert report["intake"][1]["loaded"] == len(UNFIT)
    assert answer(case, "legitimate_administration")["answer"] == "no"
    assert case["escalation"]["decision"] == "escalate"
    assert any(reason.startswith("nobody justifies it") for reason in case["escalation"]["reasons_for"])
    assert case["plan"][0]["action"] in {
        one["id"] for one in report["actions"] if one["phase"] == "preservation"
    }


def test_a_ticket_silences_no_case_that_also_has_an_attack_step(tmp_path: Path) -> None:
    ticket = f"CHG42,{ADA},case-42,2026-03-02 09:00,2026-03-02 17:00,closed,approved,\n"
    hiding = inbox_rule(7, UserId=ADA)

    report = run(tmp_path, [*EXPORT, hiding], tickets=ticket)

    case = report["cases"][0]
    assert case["severity"] in {"high", "critical"}
    assert any(reason.startswith("could be explained, but not") for reason in case["reasons"])
    assert not any(item["rated"] for item in case["findings"])


# -- watchlists --------------------------------------------------------------------------------


def test_a_listed_administrator_may_clean_up_his_own_export_from_his_own_address(tmp_path: Path) -> None:
    lists = watchlists(tmp_path, "export_administrators", f"{ADA},duty,security,2026-06-30,,198.51.100.9,\n")

    report = run(tmp_path, EXPORT, watchlists=(lists,))

    assert report["cases"][0]["verdict"] == "authorised"
    assert report["rule_pack"]["watchlists"] == ["export_administrators.csv"]


# Used, but for another address than the one that the export came from.
ELSEWHERE = f"{ADA},duty,security,2026-06-30,,203.0.113.1,"


def test_a_listed_administrator_at_another_address_stays_loud(unfit: dict[str, Any]) -> None:
    assert unfit["rule_pack"]["watchlists"] == ["export_administrators.csv"]
    assert unfit["cases"][0]["severity"] in {"high", "critical"}


# Each lacks one thing of the row that authorises, in the test above.
UNUSED = [
    (f"{ADA},duty,security,2026-03-30,,198.51.100.9,", "it expired on 2026-03-30"),
    (f"{ADA},,security,2026-06-30,,198.51.100.9,", "it has no reason"),
    (f"{ADA},duty,,2026-06-30,,198.51.100.9,", "it has no owner"),
    (f"{ADA},duty,security,,,198.51.100.9,", "it has no expires"),
    ("*@contoso.example,duty,security,2026-06-30,,198.51.100.9,", "too broad"),
    ("@contoso.example,duty,security,2026-06-30,,198.51.100.9,", "too broad"),
    (f"{ADA},duty,security,2026-06-30,,198.51.100.0/24,", "too broad"),
    (f"{ADA},duty,security,2026-06-30,,,", "too broad"),
    (f"{ADA},duty,security,2028-06-30,,198.51.100.9,", "more than a year ahead"),
    (f"{ADA},duty,security,soon,,198.51.100.9,", "dates cannot be read"),
]


def test_a_row_that_is_out_of_date_or_too_broad_is_reported_and_not_used(unfit: dict[str, Any]) -> None:
    report = unfit

    assert report["cases"][0]["severity"] in {"high", "critical"}
    said = [one["reason"] for one in report["not_evaluated"] if "export_administrators.csv" in one["what"]]
    assert len(said) == len(UNUSED)
    assert [because for (_, because), reason in zip(UNUSED, said, strict=True) if because not in reason] == []


def test_the_last_day_of_a_row_counts_to_its_end(tmp_path: Path) -> None:
    lists = watchlists(tmp_path, "responders", f"{ADA},duty,security,2026-03-31,,198.51.100.9,\n")

    used, refused = exclusions.read([lists], now=NOW)

    assert ([row.value for row in used], refused) == ([ADA], [])


def test_a_watchlist_without_values_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "responders.csv").write_text("who\neva\n", encoding="utf-8")

    with pytest.raises(ConfigError, match="no column `value`"):
        exclusions.read([tmp_path], now=NOW)


RULE_WITH_LIST = """
id: 00000000-0000-4000-8000-00000000abcd
name: Deletion outside the list
description: x
severity: Medium
query: |
  let known = _GetWatchlist('Responders') | project SearchKey;
  MailboxActivity
  | where Activity == "HardDeleted" and Actor !in (known)
"""


def test_a_rule_may_ask_a_watchlist_as_in_sentinel(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "r.yaml").write_text(RULE_WITH_LIST, encoding="utf-8")
    lists = watchlists(
        tmp_path, "responders", "eva@contoso.example,duty,security,2026-06-30,eva@contoso.example,,\n"
    )
    records = [hard_delete(1), hard_delete(2, UserId="zed@contoso.example")]

    report = run(tmp_path, records, rules=(tmp_path / "rules",), watchlists=(lists,))

    own = [item for case in report["cases"] for item in case["findings"] if item["rule"].endswith("abcd")]
    assert [item["actor"] for item in own] == ["zed@contoso.example"]


def test_a_rule_that_asks_a_watchlist_nobody_gave_is_not_clear(plain: dict[str, Any]) -> None:
    outcome = next(item for item in plain["rules"] if item["id"].endswith("abcd"))
    assert (outcome["outcome"], outcome["reason"]) == ("not_evaluated", "no watchlist 'responders' was given")


# -- parameters --------------------------------------------------------------------------------

STAGES = "One message deleted and then purged by the same person"


def staged() -> list[Record]:
    """Return one message deleted, and purged six hours later."""
    first = hard_delete(1, Operation="SoftDelete", Folder={"Id": "a", "Path": "\\Inbox"})
    return [first, hard_delete(2, CreationTime="2026-03-02T14:00:00", AffectedItems=first["AffectedItems"])]


def found_by(report: dict[str, Any], name: str) -> str:
    """Return the outcome of a rule."""
    return str(next(item["outcome"] for item in report["rules"] if item["name"] == name))


def test_a_parameter_changes_its_rule_is_recorded_and_verified(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "tuned").mkdir()
    parameters = (tuning.parse(f"{STAGES}.window=1h"),)

    plain = run(tmp_path / "plain", staged())
    tuned = run(tmp_path / "tuned", staged(), parameters=parameters)

    assert (found_by(plain, STAGES), found_by(tuned, STAGES)) == ("found", "clear")
    assert plain["rule_pack"]["digest"] != tuned["rule_pack"]["digest"]
    assert tuned["rule_pack"]["parameters"] == [f"{STAGES}.window=1h"]
    assert all(line.ok for line in verification.verify(tmp_path / "tuned" / "case"))


@pytest.mark.parametrize(
    "text",
    [
        "no such rule.window=1h",
        f"{STAGES}.nothing=1h",
        f"{STAGES}.window=5",
        f"{STAGES}.window=1h; MailboxActivity",
        f"{STAGES}.window=1h\n",
        f"{STAGES}.window=",
        "window=1h",
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        _set(text)


def _set(text: str) -> None:
    rules = [rule for _, rule in loader.rules()]
    given = [tuning.Setting(STAGES, "window", "1h\n") if text.endswith("\n") else tuning.parse(text)]
    tuning.refuse_unused(given, tuning.apply(rules, given)[1])


@pytest.fixture(scope="module")
def bench() -> Iterator[content_check.Bench]:
    """Return a database with all tables."""
    made = content_check.Bench()
    yield made
    made.close()


@pytest.mark.parametrize("text", ["' or true //", "\\' | take 5", 'a"b', "{{part:listed}}", "'; drop"])
def test_a_text_never_leaves_its_quotes(text: str, bench: content_check.Bench) -> None:
    rule = next(rule for _, rule in loader.rules() if rule.name == STAGES)
    query = f"let word = 'x';\nMailboxActivity | where Activity == 'HardDeleted' and Subject == word{''}"
    plain = msgspec.structs.replace(rule, query=query, parameters={"word": rule.parameters["window"]})

    tuned, _ = tuning.apply([plain], [tuning.Setting(rule.id, "word", text)])
    test = msgspec.structs.replace(
        rule.tests[0],
        rows={"MailboxActivity": [{"Activity": "HardDeleted", "Subject": text}, {"Activity": "HardDeleted"}]},
    )
    rows = bench.ask(tuned[0].query, test, "test")

    assert [row["Subject"] for row in rows] == [text]


def test_the_toml_file_sets_parameters_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text(f'[rules]\nfolders = []\n[rules."{STAGES}"]\nwindow = "2h"\n', encoding="utf-8")

    found = chosen_settings(
        file, case=None, rules=None, memory=None, threads=None, now=None, parameters=[f"{STAGES}.window=3h"]
    )

    assert [one.value for one in found.run.parameters] == ["2h", "3h"]


# -- the model of severity ---------------------------------------------------------------------


def test_a_story_whose_findings_are_all_explained_is_authorised_and_says_by_what() -> None:
    story = severity.assess((finding(severity="high", explanations=AUTHORISED), finding(severity="low")))

    assert (story.severity, story.verdict) == ("low", "authorised")
    assert "explained: a ticket (change C1)" in story.reasons
    assert story.findings[0].rated == "high"


def test_software_that_did_everything_is_noise() -> None:
    story = severity.assess((finding(severity="high", explanations=NOISE),))

    assert (story.severity, story.verdict) == ("informational", "noise")


def test_of_two_explanations_the_graver_counts() -> None:
    story = severity.assess((finding(severity="high", explanations=(*NOISE, *AUTHORISED)),))

    assert (story.severity, story.verdict) == ("low", "authorised")


@pytest.mark.parametrize("kind", ["rule", "chain"])
def test_an_unexplained_step_keeps_the_whole_story_at_its_height(kind: str) -> None:
    story = severity.assess(
        (finding(severity="critical", explanations=AUTHORISED), finding(rule="s", kind=kind, title="loud"))
    )

    assert (story.severity, story.verdict) == ("critical", "attack")
    assert not any(one.rated for one in story.findings)


def test_phases_of_one_actor_raise_a_story_by_one_step() -> None:
    story = severity.assess((finding(), finding(rule="s", phase="hiding", rows=(("E1", 2),))))

    assert story.severity == "high"
    assert any(reason.startswith("raised to high") for reason in story.reasons)


def usual(**changes: Any) -> baselines.Usual:
    """Return a comparison with a long history."""
    plain = baselines.Usual(
        kind="actor", actor="eva@contoso.example", detail="", activity="SoftDeleted", day="2026-03-02", on_the_day=4,
        history_days=30, active_days=20, median_per_day=3, most_per_day=9,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def test_the_owners_usual_reversible_work_is_lowered_by_one_step_with_its_numbers() -> None:
    story = severity.assess((finding(),), (usual(),))

    assert (story.severity, story.verdict) == ("low", "undetermined")
    assert any("usually 3 and at most 9 a day" in reason for reason in story.reasons)


@pytest.mark.parametrize(
    ("changed", "compared"),
    [
        ({}, {"on_the_day": 10}),
        ({}, {"history_days": 13}),
        ({}, {"activity": "HardDeleted"}),
        ({"evidence": {"Activity": "HardDeleted"}}, {"activity": "HardDeleted"}),
        ({"actor_type": "Delegate"}, {}),
        ({"severity": "high"}, {}),
    ],
    ids=["more than ever", "short history", "another activity", "not reversible", "not the owner", "high"],
)
def test_nothing_else_is_lowered_for_being_usual(changed: dict[str, Any], compared: dict[str, Any]) -> None:
    story = severity.assess((finding(**changed),), (usual(**compared),))

    assert story.severity == finding(**changed).severity


# -- baselines ---------------------------------------------------------------------------------


def deletions(day: int, count: int, first: int, **changes: Any) -> list[Record]:
    """Return purges of one day of March."""
    return [
        hard_delete(first + i, CreationTime=f"2026-03-{day:02d}T08:{i:02d}:00", **changes)
        for i in range(count)
    ]


def compared(report: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the first comparison of a kind in the worst case."""
    found: dict[str, Any] = next(item for item in report["cases"][0]["baseline"] if item["kind"] == kind)
    return found


def test_a_case_says_what_is_usual_in_numbers(tmp_path: Path) -> None:
    records = [*deletions(1, 1, 1), *deletions(5, 3, 10), *deletions(20, 9, 20, ClientIP="203.0.113.66")]

    report = run(tmp_path, records)

    own = [item for case in report["cases"] for item in case["baseline"] if item["day"] == "2026-03-20"]
    acts = next(item for item in own if item["kind"] == "actor")
    assert (acts["on_the_day"], acts["most_per_day"]) == (9, 3)
    assert (acts["history_days"], acts["active_days"], acts["answer"]) in {
        (19, 2, "unusual"),
        (0, 0, "not_evaluated"),
    }


def test_a_short_history_is_not_evaluated(tmp_path: Path) -> None:
    report = run(tmp_path, [*deletions(1, 1, 1), *deletions(9, 5, 10)])

    assert compared(report, "actor")["answer"] == "not_evaluated"
    assert "14 are needed" in compared(report, "actor")["words"]


def test_the_days_of_an_attack_are_not_its_own_history() -> None:
    first = usual(day="2026-03-02", on_the_day=4, most_per_day=0, active_days=0)
    second = usual(day="2026-03-03", on_the_day=6, most_per_day=4, active_days=1)
    later = finding(time=dt.datetime(2026, 3, 3, 8))  # noqa: DTZ001

    found = baselines.History([first, second]).of([finding(), later])

    assert [(one.on_the_day, one.most_per_day) for one in found] == [(6, 0)]


def test_cases_can_be_grouped_without_a_history() -> None:
    stories = cases.group([finding()])

    assert [(story.severity, story.usual) for story in stories] == [("medium", ())]


def without_a_login(**changes: Any) -> Finding:
    given = {
        "rule": "r2",
        "actor": "root",
        "actor_type": "System",
        "mailbox": "bob",
        "host": "mx1",
        "severity": "low",
    }
    return finding(**given | {"time": dt.datetime(2026, 3, 2, 8, 30)} | changes)  # noqa: DTZ001


def by_a_person() -> Finding:
    return finding(actor="mallory", mailbox="bob", host="mx1", session="14", time=dt.datetime(2026, 3, 2, 8))  # noqa: DTZ001


def test_work_without_a_login_near_a_persons_act_on_the_same_mailbox_is_part_of_the_story() -> None:
    stories = cases.group([by_a_person(), without_a_login()])

    assert [{f.actor for f in story.findings} for story in stories] == [{"mallory", "root"}]


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "mx2"},
        {"mailbox": "eva"},
        {"time": dt.datetime(2026, 3, 2, 9, 30)},  # noqa: DTZ001
        {"severity": "informational"},
    ],
    ids=["another host", "another mailbox", "later", "only information"],
)
def test_work_without_a_login_elsewhere_or_later_is_a_story_of_its_own(changes: dict[str, Any]) -> None:
    stories = cases.group([by_a_person(), without_a_login(**changes)])

    assert len(stories) == len([by_a_person(), without_a_login()])


def test_a_job_on_many_mailboxes_does_not_tie_them_to_the_one_story() -> None:
    stories = cases.group([by_a_person(), without_a_login(), without_a_login(mailbox="eva")])

    assert sorted(sorted({f.mailbox for f in story.findings}) for story in stories) == [["bob"], ["eva"]]


def test_every_explanation_keeps_its_own_promises(bench: content_check.Bench) -> None:
    vocabulary = activities.vocabulary(loader.parsers())

    failed = []
    for path, explanation in loader.explanations():
        failed += [
            f"{path.name}: {problem}"
            for problem in content_lint.explanation_problems(explanation, bench.engine, vocabulary, now=NOW)
        ]
        failed += [
            f"{path.name}: {outcome.name}: {outcome.problem}"
            for outcome in content_check.explanation_tests(bench, path, explanation)
            if outcome.problem
        ]

    assert failed == []


def test_reports_show_the_explanation_and_the_numbers_and_escape_what_evidence_wrote(tmp_path: Path) -> None:
    ticket = f"<script>alert(1)</script>,{ADA},case-42,2026-03-02 09:00,2026-03-02 17:00,closed,approved,\n"

    run(tmp_path, EXPORT, tickets=ticket)

    page = (tmp_path / "case" / "report.html").read_text(encoding="utf-8")
    text = (tmp_path / "case" / "report.md").read_text(encoding="utf-8")
    assert "Counted as authorised work" in page
    assert "counted as authorised work" in text
    assert "Usual for them?" in page
    assert "<script>alert(1)" not in page
    assert "<script>" not in text


def test_a_restart_of_the_audit_daemon_in_public_logs_is_noise(tmp_path: Path) -> None:
    folder = PUBLIC / "msticpy"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")

    report = investigate([folder], tmp_path / "case", Settings(now=NOW), Progress()).report

    assert {case["verdict"] for case in report["cases"]} <= {"noise"}
