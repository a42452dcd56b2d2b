"""What each recorded scenario must show; run it to print the table of all of them.

``python -m tests.linux.scenarios`` prints: scenario, records, loaded, duplicates, quarantined, salvaged, activities.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from ..case_runs import PUBLIC, ask, run_paths

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
    sys.exit(main())
