"""The rule clinic finds the faults of published rules, each by its code, and calls a sound rule clean."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mailwitness import rule_clinic
from mailwitness.clinic import cmdlets, probing
from mailwitness.clinic.examine import Diagnosis, examine
from mailwitness.content import loader

from .rules import sentinel, sigma

SEED = Path(__file__).parents[3] / "shared" / "seeds" / "004_b6b8d107fd205048.txt"


def seed() -> str:
    """Return the query of the published page as it stands there, layout words included."""
    if not SEED.exists():
        pytest.skip(f"the seed document is not here ({SEED.name} in ../shared/seeds)")
    text = SEED.read_text(encoding="utf-8")
    return text[text.index("let SuspiciousMailboxCmdlets") : text.index("medium confidence")]


def diagnosis(folder: Path, text: str, suffix: str = ".kql") -> Diagnosis:
    path = folder / f"rule{suffix}"
    path.write_text(text, "utf-8")
    return examine([path])[0]


def said(found: Diagnosis, code: str) -> str:
    """Return everything said under one code."""
    return "\n".join(f"{d.sentence} [{d.evidence}]" for d in found.defects if d.code == code)


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    query = re.sub(r"\s*high\s+severity\s*$", "", seed())
    return diagnosis(tmp_path_factory.mktemp("seed"), query)


SEED_DEFECTS: list[tuple[str, str, list[str]]] = [
    (
        "the switch column of the third branch is always false",
        "always-false",
        ["HasDeleteContent", "Search-Mailbox"],
    ),
    (
        "four of six operations are dead",
        "dead-values",
        ["FolderBind", "MailboxLogin", "MoveToDeletedItems", "SendAs"],
    ),
    (
        "every deletion alerts, retention included",
        "alerts-on-ordinary-work",
        ["an owner deletes", "retention", "draft"],
    ),
    (
        "the third branch drops cmdlets of the first",
        "lists-differ",
        [
            "New-InboxRule",
            "Set-TransportRule",
            "New-ComplianceSearchAction",
            "Remove-MailboxImportRequest",
            "Remove-MoveRequest",
            "Set-MailboxMessageConfiguration",
        ],
    ),
    (
        "purges are recorded elsewhere",
        "wrong-record-type",
        ["New-ComplianceSearchAction", "SecurityComplianceCenterEOPCmdlet"],
    ),
    (
        "purges by search are not seen",
        "blind",
        ["compliance purge as the compliance centre records it", "compliance purge as eDiscovery records it"],
    ),
    (
        "server cmdlets in a cloud table",
        "wrong-product",
        ["Remove-MailboxExportRequest", "Search-Mailbox", "OfficeActivity"],
    ),
    ("a cmdlet that does not exist", "unknown-cmdlet", ["Remove-RecoverableItemsCleanup"]),
    (
        "a cmdlet that clears nothing",
        "harmless-cmdlet",
        ["Set-MailboxMessageConfiguration", "EmptyDeletedItemsOnLogoff"],
    ),
    (
        "interactive and encoded shells",
        "blind",
        ["script block 4104", "encoded command line", "PowerShell ISE", "MSExchange Management"],
    ),
    ("exact spacing", "exact-spacing", ["-PurgeType HardDelete", "-PurgeType:HardDelete"]),
    ("a switch set to false counts", "value-ignored", ["-DeleteContent:$false"]),
    ("a switch set to false alerts", "alerts-on-ordinary-work", ["switch set to false"]),
    ("HardDelete alone without SoftDelete", "uneven-list", ["HardDelete and not SoftDelete"]),
    ("results are not asked", "result-ignored", ["ResultStatus"]),
    ("the object is empty for deletions", "never-filled", ["OfficeObjectId", "HardDelete", "AffectedItems"]),
    (
        "accounts filed as hosts",
        "entities-mixed",
        ["DeviceName = UserId", "FileName = Operation", "InitiatingProcessFileName = ClientIP"],
    ),
    ("rules made by Outlook", "blind", ["UpdateInboxRules"]),
    (
        "Graph, Defender for Cloud Apps, post-delivery events",
        "blind",
        ["GraphAPIAuditEvents", "CloudAppEvents", "EmailPostDeliveryEvents"],
    ),
    ("other platforms", "blind", ["nothing for GoogleWorkspace", "nothing for Linux", "nothing for macOS"]),
    ("letter by letter", "case-sensitive", ["Operation in", 'RecordType == "ExchangeAdmin"']),
    ("late records", "late-records", ["ago(24h)", "OfficeActivity"]),
    ("two columns of time", "mixed-times", ["Timestamp", "TimeGenerated"]),
]


@pytest.mark.parametrize(("code", "words"), [d[1:] for d in SEED_DEFECTS], ids=[d[0] for d in SEED_DEFECTS])
def test_each_known_defect_of_the_published_rule_is_named(
    examined: Diagnosis, code: str, words: list[str]
) -> None:
    text = said(examined, code)

    assert [word for word in words if word not in text] == []


def test_the_page_as_it_stands_cannot_be_judged_and_says_where(tmp_path: Path) -> None:
    found = diagnosis(tmp_path, seed())

    assert "'high'" in found.not_judged
    assert rule_clinic.print_diagnoses([tmp_path / "rule.kql"], as_json=False) == 2


AUDIT_OFF = 'OfficeActivity | where Operation == "Set-AdminAuditLogConfig" | extend P = parse_json(Parameters)[{n}] | where tostring(P.Name) in ("UnifiedAuditLogIngestionEnabled", "AdminAuditLogEnabled") and tostring(P.Value) == "False" | project TimeGenerated, UserId'
HOUR_BIN = """let Exports = DeviceProcessEvents | where ProcessCommandLine contains "New-MailboxExportRequest"
| summarize by DeviceName, AccountName, Hour = bin(TimeGenerated, 1h);
DeviceProcessEvents | where ProcessCommandLine contains "Remove-MailboxExportRequest"
| summarize by DeviceName, AccountName, Hour = bin(TimeGenerated, 1h)
| join kind=inner Exports on DeviceName, AccountName, Hour"""
SORTED = """let Exports = DeviceProcessEvents | where ProcessCommandLine has "New-MailboxExportRequest" | project Made = TimeGenerated, AccountName;
DeviceProcessEvents | where ProcessCommandLine has "Remove-MailboxExportRequest" | join kind=inner Exports on AccountName
| where TimeGenerated between (Made .. (Made + 8d))"""
ENGLISH = 'OfficeActivity | where Operation in~ ("New-InboxRule", "Set-InboxRule") | where tostring(ParametersBag.MoveToFolder) in~ ("Deleted Items", "Junk Email", "RSS Feeds")'
BYPASS = 'OfficeActivity | where Operation =~ "Set-MailboxAuditBypassAssociation" and ResultStatus =~ "True"'
SCHEDULE = 'OfficeActivity | where TimeGenerated > ago(7d) | where Operation =~ "New-InboxRule"'

KNOWN_BROKEN: list[tuple[str, str, str, str, str]] = [
    ("the first of the parameters", ".kql", AUDIT_OFF.format(n=0), "positional", "Parameters[0]"),
    ("the first of the parameters misses the last", ".kql", AUDIT_OFF.format(n=0), "blind", "parameter last"),
    ("the fourth of the parameters", ".kql", AUDIT_OFF.format(n=3), "positional", "Parameters[3]"),
    ("the fourth of the parameters finds none", ".kql", AUDIT_OFF.format(n=3), "dead", "none of the"),
    ("hour slots", ".kql", HOUR_BIN, "window-broken", "60 minutes apart or more it finds none"),
    ("hour slots, measured", ".kql", HOUR_BIN, "loses-pairs", "0% at 61 minutes"),
    ("hour slots, order", ".kql", HOUR_BIN, "order-ignored", "wrong order"),
    ("English folders", ".kql", ENGLISH, "english-only", "Deleted Items"),
    ("English folders miss a German one", ".kql", ENGLISH, "blind", "German name"),
    ("a value that is not looked at", ".kql", BYPASS, "alerts-on-ordinary-work", "taken back"),
    (
        "a schedule that cuts off the query",
        ".yaml",
        sentinel(SCHEDULE, queryPeriod="1d", queryFrequency="1d"),
        "period-too-short",
        "ago(7d)",
    ),
    (
        "a column that nothing fills",
        ".kql",
        'OfficeActivity | where LoginStatus == "1" and Operation =~ "HardDelete"',
        "never-filled",
        "LoginStatus",
    ),
    (
        "a mailbox asked of eDiscovery records",
        ".kql",
        'OfficeActivity | where RecordType == "Discovery" and MailboxOwnerUPN endswith "contoso.example"',
        "never-filled",
        "MailboxOwnerUPN is normally empty for eDiscovery and compliance records",
    ),
    (
        "a mailbox asked of cmdlets",
        ".kql",
        'OfficeActivity | where Operation in~ ("New-InboxRule", "Set-InboxRule") | summarize count() by MailboxOwnerUPN',
        "never-filled",
        "MailboxOwnerUPN is normally empty for New-InboxRule, Set-InboxRule",
    ),
    (
        "a client asked of Entra records",
        ".kql",
        'OfficeActivity | where Operation =~ "Consent to application." and ClientInfoString has "REST"',
        "never-filled",
        "ClientInfoString is normally empty for Consent to application.",
    ),
    (
        "a user asked of Gmail records",
        ".kql",
        'GoogleWorkspaceReports | where IdApplicationName =~ "gmail" and UserEmail == "eva@contoso.example"',
        "never-filled",
        "UserEmail is normally empty for records of Gmail",
    ),
    (
        "a path without a drive",
        ".yml",
        sigma(
            {"product": "windows", "category": "file_delete"},
            {"sel": {"TargetFilename|startswith": "\\Logging\\CmdletInfra\\"}, "condition": "sel"},
        ),
        "dead",
        "never begins with",
    ),
    (
        "a removal only with -Confirm",
        ".yml",
        sigma(
            {"product": "windows", "service": "msexchange-management"},
            {
                "words": {"|all": ["Remove-MailboxExportRequest", ' -Identity "', ' -Confirm "False"']},
                "condition": "words",
            },
        ),
        "blind",
        "without -Confirm",
    ),
    (
        "the very program of the atomic test is left out",
        ".yml",
        sigma(
            {"product": "windows", "category": "file_delete"},
            {
                "sel": {"TargetFilename|contains": "\\Comms\\Unistore\\data"},
                "system": {"Image|startswith": "C:\\Windows\\system32\\"},
                "condition": "sel and not system",
            },
        ),
        "blind",
        "deleted by PowerShell",
    ),
    (
        "rules of Outlook are forgotten",
        ".yml",
        sigma(
            {"product": "m365", "service": "audit"},
            {
                "sel": {
                    "Operation": ["New-InboxRule", "Set-InboxRule"],
                    "Parameters|contains": "DeleteMessage",
                },
                "condition": "sel",
            },
        ),
        "blind",
        "Outlook for Windows",
    ),
    (
        "the value of the switch is ignored",
        ".yml",
        sigma(
            {"product": "m365", "service": "audit"},
            {
                "sel": {
                    "Operation": ["New-InboxRule", "Set-InboxRule"],
                    "Parameters|contains": "DeleteMessage",
                },
                "condition": "sel",
            },
        ),
        "alerts-on-ordinary-work",
        "deletion switched off",
    ),
]


@pytest.mark.parametrize(
    ("suffix", "text", "code", "words"), [k[1:] for k in KNOWN_BROKEN], ids=[k[0] for k in KNOWN_BROKEN]
)
def test_rules_after_the_pattern_of_known_broken_ones(
    tmp_path: Path, suffix: str, text: str, code: str, words: str
) -> None:
    found = diagnosis(tmp_path, text, suffix)

    assert words in said(found, code), found


def test_a_column_is_not_called_empty_where_other_records_fill_it(tmp_path: Path) -> None:
    query = 'OfficeActivity | where Operation in~ ("HardDelete", "New-InboxRule") | project MailboxOwnerUPN, OfficeObjectId'

    assert said(diagnosis(tmp_path, query), "never-filled") == ""


def test_an_ordered_join_has_no_broken_window_and_loses_no_pair(tmp_path: Path) -> None:
    found = diagnosis(tmp_path, SORTED)

    assert {"window-broken", "loses-pairs", "order-ignored"} & {d.code for d in found.defects} == set()


def test_a_sound_rule_is_clean_and_the_exit_codes_tell_the_three_outcomes_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = tmp_path / "clean.kql"
    clean.write_text(
        'GoogleWorkspaceReports | where IdApplicationName =~ "gmail" and tostring(ParametersBag.event_info.mail_event_type) == "27"',
        "utf-8",
    )
    broken = tmp_path / "broken.kql"
    broken.write_text(AUDIT_OFF.format(n=0), "utf-8")
    wrong = tmp_path / "wrong.kql"
    wrong.write_text("NoSuchTable | take 1", "utf-8")

    codes = [rule_clinic.print_diagnoses([path], as_json=True) for path in (clean, broken, wrong)]

    first = json.loads(capsys.readouterr().out.split("]\n[")[0] + "]")
    assert codes == [0, 1, 2]
    assert first[0]["defects"] == []


def test_words_of_a_hostile_rule_are_shown_as_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rule.kql"
    path.write_text(
        'OfficeActivity | where Operation == "Remove-Mailbox\x1b[2JCleanup" and Operation in ("a\x1b]0;x\x07")',
        "utf-8",
    )

    rule_clinic.print_diagnoses([path], as_json=False)

    assert "\x1b" not in capsys.readouterr().out


def test_own_rules_are_held_to_our_own_standard_too(tmp_path: Path) -> None:
    text = (
        next(iter(loader.rules()))[0]
        .read_text("utf-8")
        .replace("falsePositives:", "falsePositives: []\nnotAKey:")
    )

    assert "falsePositives is empty" in said(diagnosis(tmp_path, text, ".yaml"), "house")


def test_every_probe_fits_its_tables() -> None:
    tables = loader.tables()
    rows: list[dict[str, Any]] = [
        v.rows for p in probing.probes() for v in [*p.ordinary, *(v for g in p.groups for v in g.variants)]
    ]
    rows += [side for p in probing.probes() for pair in p.pairs for side in (pair.first, pair.then)]

    wrong = [
        (table, name)
        for one in rows
        for table, listed in one.items()
        for row in listed
        for name in row
        if name not in {c.name for c in tables[table].columns}
    ]

    assert len(rows) > 30
    assert wrong == []


def test_cmdlets_that_our_own_parsers_know_are_in_the_list() -> None:
    files = [
        loader.CONTENT / "parsers" / f"{name}.yaml" for name in ("office_activity", "event_exchange_cmdlets")
    ]
    text = "".join(path.read_text("utf-8") for path in files)
    named = {name for name in re.findall(r"\b[A-Z][a-z]+-[A-Z][A-Za-z]+\b", text) if cmdlets.is_ours(name)}

    assert sorted(name for name in named if cmdlets.find(name) is None) == []
