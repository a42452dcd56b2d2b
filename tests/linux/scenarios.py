"""What each recorded scenario must show; run it to print the table of all of them.

``python -m tests.linux.scenarios`` prints: scenario, records, loaded, duplicates, quarantined, salvaged, activities.
``python -m tests.linux.scenarios outcomes`` investigates each scenario by itself and prints: scenario, label, outcome,
the finding that tells it best (severity, actor, mailbox, title), and what is wrong with that.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mailwitness.content.schemas import SEVERITIES
from mailwitness.pipeline import Progress, Settings
from mailwitness.pipeline import investigate as investigate_paths
from mailwitness.report.text import visible

from ..case_runs import NOW, PUBLIC, ask, run_paths

RECORDED = PUBLIC.parent / "recorded" / "linux-mail"

# Activities without which the scenario would have been missed.
EXPECTED: dict[str, set[str]] = {
    "02-imap-expunge-all": {"HardDeleted", "SignedIn"},
    "04-imap-move-trash-then-purge": {"MovedToDeletedItems", "HardDeleted"},
    "05-imap-delete-folder": {"FolderDeleted", "HardDeleted"},
    "06-pop3-dele-all": {"HardDeleted"},
    "07-doveadm-expunge-all": {"CommandExecuted", "StoreFileDeleted"},
    "07b-doveadm-server-expunge": {"CommandExecuted", "HardDeleted"},
    "07c-doveadm-cli-quiet": {"CommandExecuted"},
    "08-doveadm-search-expunge-subject": {"CommandExecuted"},
    "09-export-then-expunge": {"CommandExecuted"},
    "10-maildir-unlink": {"StoreFileDeleted"},
    "11-maildir-root-python-unlink": {"StoreFileDeleted"},
    "12-maildir-header-sed": {"StoreFileReplaced"},
    "20-mail-mailutils": {"StoreFileModified", "CommandExecuted"},
    "21-mail-bsd-mailx": {"StoreFileTruncated"},
    "22-s-nail": {"StoreFileModified"},
    "23-mail-other-user": {"CommandExecuted"},
    "24-mutt-delete-pattern": {"StoreFileModified"},
    "25-neomutt-delete": {"StoreFileModified"},
    "26-truncate-mbox": {"StoreFileModified", "CommandExecuted"},
    "27-redirect-truncate": {"StoreFileTruncated"},
    "28-cp-devnull": {"StoreFileTruncated"},
    "29-dd-overwrite": {"StoreFileModified"},
    "30-shred": {"StoreFileModified", "StoreFileDeleted"},
    "31-rm": {"StoreFileDeleted"},
    "32-mv-away-symlink-devnull": {"StoreFileDeleted"},
    "33-sed-headers-mbox": {"StoreFileReplaced"},
    "34-python-mailbox-selective": {"StoreFileReplaced"},
    "35-timestomp": {"StoreFileReplaced", "CommandExecuted"},
    "40-sieve-discard-rule": {"InboxRuleChanged", "HardDeleted"},
    "40b-sieve-script-removed": {"InboxRuleChanged"},
    "40c-sieve-file-drop": {"HardDeleted", "CommandExecuted"},
    "41-postfix-header-checks": {"TransportRuleCreated", "HardDeleted"},
    "42-postsuper-delete-all": {"HardDeleted", "CommandExecuted"},
    "43-postsuper-selective": {"HardDeleted"},
    "43b-queue-file-rm": {"StoreFileDeleted"},
    "44-log-injection-subjects": {"HardDeleted"},
    "45-dovecot-index-removal": {"LogCleared"},
    "46-doveadm-mailbox-delete": {"CommandExecuted"},
    "47-benign-autoexpunge": {"HardDeleted"},
    "48-imap-download-all-then-expunge": {"HardDeleted"},
    "49-c2-mailbox-read-and-delete": {"HardDeleted"},
    "50-maillog-truncate": {"LogCleared"},
    "51-maillog-sed": {"LogCleared"},
    "52-rsyslog-stop": {"LoggingStopped"},
    "53-auditd-tamper": {"LoggingStopped", "AuditWeakened"},
    "54-imap-brute-then-wipe": {"SignInFailed", "HardDeleted"},
    "55-imap-literal-sessions-no-mail_log": {"HardDeleted"},
    "61-exim-queue-remove": {"HardDeleted", "CommandExecuted"},
    "62-exim-freeze-edit": {"HardDeleted"},
    "63-exim-spool-rm": {"CommandExecuted"},
    "70-journald": {"HardDeleted"},
    "73-dovecot-index-forensics": {"HardDeleted", "InboxRuleRemoved", "FolderDeleted"},
}

Row = dict[str, Any]  # Any: JSON values


def investigate(work: Path) -> dict[str, Row]:
    """Load all scenarios as one case; return counts and activities of each."""
    intake = run_paths(work, [RECORDED])
    kinds = {
        row["exhibit"]: next(
            part
            for part in Path(row["path"]).parts
            if part[:2].isdigit() or part in {"config", "labels.jsonl"}
        )
        for row in intake
    }
    found: dict[str, Row] = {}
    for row in intake:
        total = found.setdefault(kinds[row["exhibit"]], {"counts": Counter(), "activities": Counter()})
        total["counts"].update(
            {key: row[key] for key in ("records", "loaded", "duplicates", "quarantined", "salvaged")}
        )
    for row in ask(work, "MailboxActivity | summarize n = count() by _Exhibit, Activity"):
        found[kinds[row["_Exhibit"]]]["activities"][row["Activity"]] += row["n"]
    return found


# Output of the laboratory's own watcher, in no format of any product: it is refused by name, and that is the outcome.
NO_LOG = {"71-fanotify", "74-fanotify-perm"}
# Notes of whoever recorded the scenario; no host wrote them.
NOTES = {"how.txt", "transcript.txt"}


def labels() -> dict[str, Row]:
    """Return what is known about each scenario, by its name."""
    lines = (RECORDED / "labels.jsonl").read_text("utf-8").splitlines()
    return {row["scenario"]: row for row in map(json.loads, lines)}


def logs(name: str) -> list[Path]:
    """Return the files that the host wrote during a scenario; its notes where it wrote none."""
    written = [path for path in sorted((RECORDED / name).iterdir()) if path.name not in NOTES]
    return written or sorted((RECORDED / name).iterdir())


def report_of(paths: Iterable[Path]) -> Row:
    """Investigate files as one case and return its report."""
    with tempfile.TemporaryDirectory() as folder:
        return investigate_paths(list(paths), Path(folder) / "case", Settings(now=NOW), Progress()).report


def findings_of(report: Row) -> list[Row]:
    """Return the findings of a report that count, the most severe first."""
    found = [finding for case in report["cases"] for finding in case["findings"]]
    return sorted(found, key=lambda finding: -SEVERITIES.index(finding["severity"]))


def names(finding: Row, label: Row) -> bool:
    """Tell whether a finding names the actor and the mailbox that the label gives.

    A mail log knows the account of a session, not the person behind it, so that the label's address has to fit as well.
    """
    actors = [part.strip().partition("@") for part in label["actor"].split(";")]
    by_actor = any(
        finding["actor"] == user and (not address or finding["entities"].get("IP", address) == address)
        for user, _, address in actors
    )
    return by_actor and (label["mailbox"] == "-" or finding["mailbox"] in {label["mailbox"], ""})


def problem(label: Row, report: Row) -> str:
    """Say what is wrong with the outcome of a scenario; empty when nothing is."""
    found = findings_of(report)
    worst = max((SEVERITIES.index(finding["severity"]) for finding in found), default=0)
    if label["label"] == "benign":
        return "benign, but above low" if worst > SEVERITIES.index("low") else ""
    if label["label"] != "malicious":
        return ""
    if label["scenario"] in NO_LOG:
        refused = report["summary"]["outcome"] == "not_evaluated" and report["not_evaluated"]
        return "" if refused else "no log was written, and the report does not say so"
    named = [finding for finding in found if names(finding, label)]
    if not found:
        return "missed"
    if not named:
        return "actor or mailbox wrong"
    # A finding without an actor says that nobody is known; it accuses no one.
    accused = [finding for finding in found if finding["actor"]]
    right = accused[0]["severity"] == named[0]["severity"]
    return "" if right else "a more severe finding names somebody else"


def outcomes() -> int:
    """Print scenario and outcome for every scenario by itself; fail when one is wrong."""
    wrong = 0
    for name, label in sorted(labels().items()):
        report = report_of(logs(name))
        found = findings_of(report)
        best = next((item for item in found if names(item, label)), found[0] if found else None)
        told = (
            f"{best['severity']} | {visible(best['actor'], 40)} | {visible(best['mailbox'], 40)} | {visible(best['title'], 100)}"
            if best
            else " | | | "
        )
        fault = problem(label, report)
        wrong += bool(fault)
        print(f"| {name} | {label['label']} | {report['summary']['outcome']} | {told} | {fault} |")
    return int(wrong > 0)


def main() -> int:
    """Print the table; fail when a scenario does not show what it must."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, row in sorted(investigate(Path(folder)).items()):
            lacking = EXPECTED.get(name, set()) - set(row["activities"])
            missed += bool(lacking)
            counts = " | ".join(
                str(row["counts"][key])
                for key in ("records", "loaded", "duplicates", "quarantined", "salvaged")
            )
            acts = ", ".join(f"{activity} {number}" for activity, number in sorted(row["activities"].items()))
            print(
                f"| {name} | {counts} | {acts}{' MISSING ' + ', '.join(sorted(lacking)) if lacking else ''} |"
            )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(outcomes() if sys.argv[1:] == ["outcomes"] else main())
