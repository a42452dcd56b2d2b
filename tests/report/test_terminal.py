"""The summary on the terminal: short, complete, and safe to print whatever the evidence holds."""

from __future__ import annotations

import io
import unicodedata

import pytest
from rich.console import Console

from mailwitness.report.markdown import render_markdown
from mailwitness.report.terminal import print_summary

from .report_examples import HOSTILE_TEXTS, Json, poison, realistic


def printed(report: Json, *, encoding: str = "utf-8", **options: object) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=stream, **{"width": 80, "force_terminal": False, **options})  # type: ignore[arg-type]
    print_summary(report, console, "case/report.html")
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_nothing_a_terminal_obeys_is_printed(name: str) -> None:
    for shown in (
        printed(poison(realistic(), [HOSTILE_TEXTS[name]], also_own_words=True)),
        render_markdown(poison(realistic(), [HOSTILE_TEXTS[name]], also_own_words=True)),
    ):
        assert set() == {
            one for one in shown if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        } - {"\n"}


def test_a_pipe_gets_plain_text_of_eighty_columns() -> None:
    lines = printed(realistic()).splitlines()

    assert all(len(line) <= 80 and line == line.rstrip() for line in lines)
    assert len(lines) <= 42


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    shown = printed(realistic(), force_terminal=True, color_system="standard")

    assert "\x1b[1;31m" not in shown
    assert "\x1b[31m" not in shown


def test_an_old_terminal_gets_what_it_can_write() -> None:
    shown = printed(poison(realistic(), [HOSTILE_TEXTS["ansi"]]), encoding="ascii")

    assert "\\u2039ESC\\u203a" in shown


def test_the_worst_cases_come_first_and_the_rest_is_counted() -> None:
    report = realistic()
    report["cases"] = [report["cases"][1]] * 8 + [report["cases"][0]]

    shown = printed(report)

    assert shown.index("CRITICAL") < shown.index("LOW")
    assert "and 4 more cases in the report" in shown


def test_the_proof_is_named_as_file_and_line() -> None:
    assert "AuditLog_2025-03-01_2025-03-07.csv:1468\n" in printed(realistic())


def test_a_long_report_path_is_not_broken() -> None:
    stream = io.StringIO()

    print_summary(realistic(), Console(file=stream, width=40), "/very/long" * 20)

    assert f"{'/very/long' * 20}\n" in stream.getvalue()


def test_what_was_not_evaluated_is_never_missing() -> None:
    report = {
        "summary": {"outcome": "clear"},
        "not_evaluated": [{"what": f"gap {at}", "reason": "r"} for at in range(9)],
    }

    shown = printed(report)

    assert "NOT EVALUATED  gap 0" in shown
    assert "and 4 more in the report" in shown
