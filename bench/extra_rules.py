"""Synthetic KQL rules, to see what a large rule pack costs.

They are varied and plausible in form, filter on what the data holds, and find nothing:
what is measured is evaluation, not the writing of findings.

    python -m bench.extra_rules FOLDER 450
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import yaml

# {n} makes every rule a different question: no cache can answer one with another.
QUERIES = (
    """MailboxActivity
| where Activity in ("HardDeleted", "SoftDeleted")
| where Subject has_any ("ledger{n}", "audit{n}", "statement{n}")
| project TimeGenerated, Actor, Mailbox, ClientIP, SessionId, Subject, _Exhibit, _Position""",
    """MailboxActivity
| where Activity == "MovedToDeletedItems" and ClientApp contains "agent-{n}"
| project TimeGenerated, Actor, Mailbox, ClientIP, SessionId, ClientApp, _Exhibit, _Position""",
    """MailboxActivity
| where Activity in ("InboxRuleCreated", "InboxRuleChanged") and ObjectName endswith "rule-{n}"
| project TimeGenerated, Actor, Mailbox, ClientIP, SessionId, ObjectName, _Exhibit, _Position""",
    """MailboxActivity
| where Activity == "HardDeleted" and FolderKind startswith "RecoverableItems"
| summarize Count = count(), LastTime = max(TimeGenerated),
    arg_min(TimeGenerated, ClientIP, SessionId, _Exhibit, _Position)
    by Actor, Mailbox
| where Count > 100{n}""",
    """MailboxActivity
| where Activity == "SettingChanged" and Setting =~ "Setting{n}"
| project TimeGenerated, Actor, Mailbox, ClientIP, Setting, SettingAfter, _Exhibit, _Position""",
    """OfficeActivity
| where Operation in~ ("Set-Mailbox", "Set-CASMailbox") and tostring(Parameters) has "Quota{n}"
| project TimeGenerated, Actor = UserId, Mailbox = OfficeObjectId, ClientIP, _Exhibit, _Position""",
    """OfficeActivity
| where Operation == "Send" and UserId startswith "robot{n}-"
| summarize Count = count(), arg_min(TimeGenerated, ClientIP, _Exhibit, _Position) by Actor = UserId
| where Count > {n}""",
    """let Created = MailboxActivity
| where Activity == "InboxRuleCreated" and ObjectName startswith "tmp{n}";
let Removed = MailboxActivity
| where Activity == "InboxRuleRemoved" and ObjectName startswith "tmp{n}";
Created
| join kind=inner (Removed | project Actor, RemovedAt = TimeGenerated) on Actor
| where RemovedAt > TimeGenerated
| project TimeGenerated, Actor, Mailbox, ClientIP, ObjectName, RemovedAt, _Exhibit, _Position""",
    """MailboxActivity
| where Activity in ("Exported", "ExportRemoved", "SearchRemoved")
| where ObjectName matches regex "^job-{n}-[0-9]+$"
| project TimeGenerated, Actor, Mailbox, ClientIP, ObjectName, _Exhibit, _Position""",
)
SEVERITIES = ("Informational", "Low", "Medium", "High")


def write_rules(folder: Path, number: int) -> None:
    """Write that many rules, one YAML file each, always the same ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(number):
        (folder / f"synthetic_{n:04d}.yaml").write_text(yaml.safe_dump(_rule(n), sort_keys=False), "utf-8")


def _rule(n: int) -> dict[str, object]:
    """Build one rule in Azure-Sentinel's form with our own keys behind it."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"mailwitness benchmark rule {n}")),
        "name": f"Synthetic benchmark rule {n}",
        "description": "Exists to be evaluated by the benchmark; finds nothing.",
        "severity": SEVERITIES[n % len(SEVERITIES)],
        "requiredDataConnectors": [],
        "queryFrequency": "1h",
        "queryPeriod": "1d",
        "triggerOperator": "gt",
        "triggerThreshold": 0,
        "tactics": ["Stealth"],
        "relevantTechniques": ["T1070.008"],
        "query": QUERIES[n % len(QUERIES)].replace("{n}", str(n)) + "\n",
        "entityMappings": [],
        "version": "1.0.0",
        "kind": "Scheduled",
        "confidence": "low",
        "reasons": {"severity": "None: it is synthetic.", "confidence": "None: it is synthetic."},
        "finding": {"title": f"Synthetic finding {n}", "phase": "clearing"},
    }


if __name__ == "__main__":
    write_rules(Path(sys.argv[1]), int(sys.argv[2]))
