"""What a comparison with the witness tells the ledger, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .histories import Bench, Row, at, linux, saved

HOME = "/home/eva/Maildir"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def differs(what: str, message: str, **cells: object) -> Row:
    """Return a row of WitnessComparison: received in minute 5, compared in minute 90."""
    return {
        "TimeGenerated": at(90), "WitnessedTime": at(5), "Difference": what, "Thing": "Message", "Client": "mail",
        "Path": HOME, "Place": "1.host", "MessageId": message, "Subject": "Invoice", "_Exhibit": "E7", **cells,
    }  # fmt: skip


def test_what_the_witness_held_and_the_host_lost_is_gone_without_record(bench: Bench) -> None:
    row = bench.ledger(WitnessComparison=[differs("Missing", "<a@x.example>")])["eva", "a@x.example"]

    assert (row["Verdict"], row["Proofs"], row["LastFolder"]) == ("gone without record", "witness", "inbox")
    assert "witness" in row["Reason"]
    assert "2026-03-01 01:30:00" in row["Reason"]


def test_a_recorded_removal_explains_what_is_missing(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[saved(4, "<a@x.example>", 1), linux(30, "HardDeleted", "<a@x.example>", 1)],
        WitnessComparison=[differs("Missing", "<a@x.example>")],
    )

    row = rows["eva", "a@x.example"]
    assert (row["Verdict"], row["RemovedBy"]) == ("deleted with record", "eva")
    assert row["Proofs"] == "mail log, witness"


def test_a_comparison_says_nothing_of_a_message_delivered_after_it(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[saved(120, "<a@x.example>", 1)],
        WitnessComparison=[differs("Missing", "<a@x.example>")],
    )

    assert rows["eva", "a@x.example"]["Verdict"] == "unknown"


def test_a_comparison_is_no_listing_of_the_messages_it_does_not_name(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[saved(4, "<b@x.example>", 2)],
        WitnessComparison=[differs("Missing", "<a@x.example>")],
    )

    assert rows["eva", "b@x.example"]["Verdict"] == "unknown"


def test_a_message_that_the_witness_had_otherwise_is_altered(bench: Bench) -> None:
    rows = bench.ledger(WitnessComparison=[differs("Altered", "<a@x.example>", After="body changed")])

    assert rows["eva", "a@x.example"]["Verdict"] == "altered"


def test_a_message_that_only_moved_is_not_gone(bench: Bench) -> None:
    rows = bench.ledger(WitnessComparison=[differs("Moved", "<a@x.example>", After=f"{HOME}/.Archive")])

    row = rows["eva", "a@x.example"]
    assert (row["Verdict"], row["LastFolder"]) == ("unknown", "archive")


def test_an_inserted_message_and_a_log_line_prove_no_existence(bench: Bench) -> None:
    rows = bench.ledger(
        WitnessComparison=[
            differs("Inserted", "<a@x.example>", WitnessedTime=None),
            differs("Missing", "", Thing="LogLine", Path="/var/log/mail.log"),
        ]
    )

    assert rows == {}
