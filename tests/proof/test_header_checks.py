"""What tables of header_checks do: as this tool reads them, and as Postfix does it where that is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import duckdb
import pytest

from mailwitness.proof import header_checks
from mailwitness.proof.readings import Reading

SUBJECTS = (
    "Security alert 1",
    "security ALERT",
    "Invoice 100",
    "lunch",
    "a[b]c",
    "re: (x) {2}",
    "Alerts/2026",
    "",
)
PATTERNS = (
    "/^Subject: .*Security alert/", "/^Subject:.*invoice [0-9]+$/", "/^Subject: security alert/i", "/^subject:[[:space:]]+lunch$/", "/^Subject: (lunch|.*invoice)/",
    "/^Subject: .{5,7}$/", "/^Subject: a\\[b\\]c$/", "/^Subject: .*[][]/", "/^Subject: .*\\(x\\)/", "/^Subject: .*s\\/2/", "/^Subject: $/", "/^Subject: [^a-z]/", "/^Subject: (a|b)+\\[/",
    "!^Subject: lunch!", "/^Subject: \\w+$/", "/^Subject: .*\\./", "/^Subject: [\\w]/", "/^Subject: .*a{2}/",
)  # fmt: skip


def can_run(pattern: str) -> bool:
    try:
        duckdb.execute("SELECT regexp_matches('', ?)", [pattern])
    except duckdb.Error:
        return False
    return True


def taken(reading: Reading, subject: str) -> bool | None:
    """Return whether a message is thrown away; None when that cannot be told."""
    condition = reading.taking()
    if condition is None:
        return False
    row = "SELECT ? AS Subject, 'bob@corp.example' AS Sender, '<a@x.example>' AS MessageId, '' AS Recipient, '' AS Envelope"
    found: bool | None = duckdb.execute(f"SELECT {condition.sql} FROM ({row}) AS m", [subject]).fetchall()[0][
        0
    ]
    return found


def test_a_table_of_an_intruder_in_words_and_in_its_effect() -> None:
    table = (
        "# kept by the administrator\n/^X-Spam-(Flag|Status|Score):/ IGNORE\n/^Authentication-Results:/ IGNORE\n"
        "/^Subject: .*Security alert/ DISCARD\n/^X-Mailer: probe/ WARN probe\n"
    )

    reading = header_checks.read(table, "regexp", can_run)

    assert reading.does(is_whole=True) == (
        "discards the message whose subject contains Security alert; writes a line into the log whose X-Mailer contains probe; "
        "strips the headers X-Spam-(Flag|Status|Score), Authentication-Results"
    )
    discard = [clause for clause in reading.clauses if clause.acts[0].part == "destroys"]
    assert [taken(Reading(clauses=tuple(discard)), subject) for subject in SUBJECTS[:4]] == [
        True,
        True,
        False,
        False,
    ]


def test_the_first_pattern_that_fits_a_line_decides() -> None:
    table = "/^Subject: .*invoice/ DUNNO\n/^Subject: .*1/ DISCARD\n"

    reading = header_checks.read(table, "regexp", can_run)

    assert [taken(reading, subject) for subject in ("invoice 1", "alert 1")] == [False, True]


def test_a_line_behind_very_many_others_is_said_and_not_run() -> None:
    """Whether none of thousands of patterns fits before it is the square of them in SQL: the later ones are unknown, not false."""
    table = "\n".join(f"/^Subject: .*word{n} alert/ DISCARD" for n in range(3000))

    reading = header_checks.read(table, "pcre", can_run)

    first, last = reading.clauses[0].condition, reading.clauses[-1].condition
    assert len(reading.clauses) == 3000
    assert (first.unjudged, last.sql) == ((), "NULL::BOOLEAN")
    assert "too many lines stand before it" in last.unjudged[0]
    assert sum(len(clause.condition.sql) for clause in reading.clauses) < 32 * 1024 * 1024


def test_a_pattern_inside_a_condition_needs_both() -> None:
    table = "if /^Subject: .*alert/\n/^Subject: .*1/ DISCARD\nendif\n"

    reading = header_checks.read(table, "regexp", can_run)

    assert [taken(reading, subject) for subject in ("alert 1", "lunch 1", "alert")] == [True, False, False]


def test_a_line_that_goes_on_is_one_line() -> None:
    reading = header_checks.read("/^Subject: lunch/\n  REDIRECT x@fabrikam.example\n", "pcre", can_run)

    assert (
        reading.does(is_whole=True)
        == "redirects the message to x@fabrikam.example whose subject contains lunch"
    )


@pytest.mark.parametrize(
    ("pattern", "kind", "said"),
    [
        (r"/^Subject: (a)\1/ DISCARD", "regexp", "it refers back to a group"),
        ("/^Subject: (?!x)/ DISCARD", "pcre", "it looks around"),
        ("/^Subject: (?=x)/ DISCARD", "regexp", "POSIX does not say what (? means"),
        (r"/^Subject: \<x/ DISCARD", "regexp", "is not the same everywhere"),
        (r"/^Subject: [\d]/ DISCARD", "", "would read it differently"),
        ("/^Subject: x/U DISCARD", "pcre", "its flags U are not run"),
        ("/^Subject: (a{999}){999}/ DISCARD", "regexp", "RE2 does not take it"),
    ],
)
def test_a_pattern_that_cannot_be_run_is_said_and_not_guessed(pattern: str, kind: str, said: str) -> None:
    reading = header_checks.read(pattern, kind, can_run)

    assert said in reading.unjudged()
    assert taken(reading, "x") is None


def test_a_subject_that_stood_encoded_in_the_line_is_not_compared() -> None:
    reading = header_checks.read("/^Subject: .*b/ DISCARD", "regexp", can_run)

    assert [taken(reading, subject) for subject in ("über", "bob")] == [None, True]


def test_a_check_of_the_body_cannot_be_told_from_a_log() -> None:
    reading = header_checks.read("/^Subject: x/ DISCARD", "regexp", can_run, lines="a line of the body")

    assert taken(reading, "x") is None
    assert reading.unjudged() == "with a line of the body that fits ^Subject: x"


def test_a_line_that_is_none_is_named() -> None:
    reading = header_checks.read("discard everything\n/x/ BURN it\n", "regexp", can_run)

    assert reading.unread == ("line 1: discard everything", "line 2: the action BURN it")


def test_an_expression_that_would_backtrack_for_ever_elsewhere_is_run_in_linear_time() -> None:
    reading = header_checks.read("/^Subject: (a+)+$/ DISCARD", "pcre", can_run)

    assert taken(reading, "a" * 20_000 + "!") is False


@pytest.mark.skipif(shutil.which("postmap") is None, reason="Postfix is not installed")
@pytest.mark.parametrize("kind", ["regexp", "pcre"])
def test_postfix_takes_every_subject_that_was_read(kind: str, tmp_path: Path) -> None:
    compared = 0

    for pattern in PATTERNS:
        table = tmp_path / "header_checks"
        table.write_text(f"{pattern} DISCARD\n")
        reading = header_checks.read(table.read_text(), kind, can_run)
        lines = "".join(f"Subject: {subject}\n" for subject in SUBJECTS)
        done = subprocess.run(["postmap", "-q", "-", f"{kind}:{table}"], input=lines, capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
        if "is not supported" in done.stderr or "unsupported dictionary type" in done.stderr:
            pytest.skip(f"this Postfix has no {kind} tables")
        really = {line.rsplit("\t", 1)[0].removeprefix("Subject: ") for line in done.stdout.splitlines()}
        for subject in SUBJECTS:
            told = taken(reading, subject)
            assert told in {None, subject in really}, (pattern, subject)
            compared += told is not None

    assert compared > 110
