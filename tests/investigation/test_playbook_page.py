"""The page of the playbook is complete, and so is what it names."""

from __future__ import annotations

from pathlib import Path

from mailwitness.content import loader
from mailwitness.content.playbook import playbook, questions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "playbook.md"
# The playbook's demands as we read them; a row that nobody answers must not vanish by being left out of the content.
DEMANDS = {
    "log_sources": {"mail_server", "powershell", "api", "unix_tools", "transport_rules"},
    "indicators": {
        "export_then_deletion",
        "powershell_commands",
        "unix_utilities",
        "transport_rules_phishing",
        "new_applications",
    },
    "questions": {
        "export_then_deletion",
        "legitimate_or_out_of_context",
        "unusual_for_account",
        "transport_rules_with_suspicious_mail",
    },
    "escalation": {"no_justification", "unusual_tools", "known_patterns", "transport_rule_without_need"},
    "level1": {"identity_and_access", "other_anomalies", "password_or_signins"},
    "tier2": {"timeline", "scripts_legitimate", "across_systems", "business_units"},
    "containment": {
        "revoke_and_reset",
        "disable_automation",
        "preserve_logs",
        "restore_mail",
        "strengthen_logging",
    },
}
WANTED = {f"{part}.{name}" for part, names in DEMANDS.items() for name in names}


def test_every_row_of_the_playbook_is_answered() -> None:
    assert {row.id for row in playbook().rows} == WANTED


def test_the_page_says_what_the_content_says() -> None:
    page = PAGE.read_text(encoding="utf-8")

    for row in playbook().rows:
        assert f"| `{row.id}` | {row.demand} | {', '.join(f'`{name}`' for name in row.files)} |" in page


def test_every_file_of_the_page_exists() -> None:
    missing = {name for row in playbook().rows for name in row.files if not (loader.CONTENT / name).is_file()}

    assert missing == set()


def test_every_question_stands_in_the_rows_that_it_answers() -> None:
    rows = {row.id: row.files for row in playbook().rows}

    for path, question in questions():
        assert any(f"questions/{path.name}" in rows[name] for name in question.playbook), question.id
