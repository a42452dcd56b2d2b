"""What each verdict of the ledger rests on, and what attackers cannot make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mailwitness.proof.ledger import Given

from .histories import START, Bench, act, at, delivered, linux, listed, saved

EVA = "eva@contoso.example"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def verdict(rows: dict[tuple[str, str], dict[str, Any]], key: str, mailbox: str = EVA) -> str:
    return str(rows[mailbox, key]["Verdict"])


def test_a_message_in_the_listing_is_present_whatever_happened_before(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[delivered(1, "<a@x.example>"), act(5, "HardDeleted", "<a@x.example>")],
        PresentMessage=[listed(60, "<a@x.example>")],
    )

    assert verdict(rows, "a@x.example") == "present"


def test_a_removal_after_the_listing_counts(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[delivered(1, "<a@x.example>"), act(90, "HardDeleted", "<a@x.example>")],
        PresentMessage=[listed(60, "<a@x.example>")],
    )

    assert verdict(rows, "a@x.example") == "deleted with record"


def test_what_was_delivered_and_is_in_no_listing_is_gone_with_its_reader_named(bench: Bench) -> None:
    opened = [{"Path": "\\Inbox", "FolderItems": [{"InternetMessageId": "<a@x.example>"}]}]
    rows = bench.ledger(
        MailboxActivity=[delivered(1, "<a@x.example>"), delivered(2, "<b@x.example>")],
        OfficeActivity=[
            {
                "TimeGenerated": at(9),
                "Operation": "MailItemsAccessed",
                "MailboxOwnerUPN": EVA,
                "UserId": "mallory@contoso.example",
                "SessionId": "s1",
                "Folders": json.dumps(opened),
                "_Exhibit": "E2",
            }
        ],
        PresentMessage=[listed(60, "<b@x.example>")],
    )

    lost = rows[EVA, "a@x.example"]
    assert lost["Verdict"] == "gone without record"
    assert (lost["ReadBy"], lost["ReadSession"]) == ("mallory@contoso.example", "s1")
    assert verdict(rows, "b@x.example") == "present"


def test_nothing_is_called_gone_outside_the_scope_of_a_listing(bench: Bench) -> None:
    later = bench.ledger(
        MailboxActivity=[delivered(90, "<a@x.example>")], PresentMessage=[listed(60, "<b@x.example>")]
    )
    elsewhere = bench.ledger(
        MailboxActivity=[delivered(1, "<a@x.example>", Mailbox="ann@contoso.example")],
        PresentMessage=[listed(60, "<b@x.example>")],
    )
    one_folder = bench.ledger(
        MailboxActivity=[delivered(1, "<a@x.example>")],
        PresentMessage=[listed(60, "<b@x.example>", StoreKind="graph")],
    )
    timeless = bench.ledger(
        MailboxActivity=[delivered(1, "<a@x.example>")],
        PresentMessage=[listed(None, "<b@x.example>", TimeGenerated=None)],
    )
    none = bench.ledger(MailboxActivity=[delivered(1, "<a@x.example>")])

    assert verdict(later, "a@x.example") == "unknown"
    assert verdict(elsewhere, "a@x.example", "ann@contoso.example") == "unknown"
    assert verdict(one_folder, "a@x.example") == "unknown"
    assert "other folders" in one_folder[EVA, "a@x.example"]["Reason"]
    assert "does not say when it was made" in timeless[EVA, "a@x.example"]["Reason"]
    assert verdict(none, "a@x.example") == "unknown"


def test_the_draft_that_a_client_deletes_while_sending_is_not_the_sent_message(bench: Bench) -> None:
    sent = [act(1, "Sent", "<a@x.example>"), act(1, "HardDeleted", "<a@x.example>", FolderKind="Drafts")]

    open_end = bench.ledger(MailboxActivity=sent)
    missing = bench.ledger(MailboxActivity=sent, PresentMessage=[listed(60, "<b@x.example>")])

    assert verdict(open_end, "a@x.example") == "unknown"
    assert verdict(missing, "a@x.example") == "gone without record"


def test_a_message_sent_without_a_copy_was_never_stored(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[act(1, "Sent", "<a@x.example>", Properties='{"SaveToSentItems":"False"}')],
        PresentMessage=[listed(60, "<b@x.example>")],
    )

    assert verdict(rows, "a@x.example") == "never stored"


def test_a_message_that_a_script_discarded_was_never_stored(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[linux(1, "HardDeleted", "<a@x.example>", 0, Operation="sieve-discard")]
    )

    assert verdict(rows, "a@x.example", "eva") == "never stored"


def test_an_imap_move_is_no_loss_and_the_emptied_trash_is(bench: Bench) -> None:
    moved = [
        saved(1, "<a@x.example>", 4),
        linux(5, "MovedToDeletedItems", "<a@x.example>", 1, DestinationFolder="Trash"),
        linux(5, "HardDeleted", "<a@x.example>", 4),
    ]

    kept = bench.ledger(MailboxActivity=moved)
    lost = bench.ledger(MailboxActivity=[*moved, linux(9, "HardDeleted", "<a@x.example>", 1, "Trash")])

    assert verdict(kept, "a@x.example", "eva") == "unknown"
    assert verdict(lost, "a@x.example", "eva") == "deleted with record"


def test_a_deleted_folder_takes_its_messages_along(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[
            linux(1, "Created", "<a@x.example>", 1, "Case"),
            linux(9, "FolderDeleted", "", 0, "Case", ItemId="", Actor="mallory"),
        ]
    )

    assert verdict(rows, "a@x.example", "eva") == "deleted with record"
    assert rows["eva", "a@x.example"]["RemovedBy"] == "mallory"


def test_an_emptied_spool_is_a_listing_of_nothing(bench: Bench) -> None:
    rows = bench.ledger(
        given=[Given("E7", "host/var/mail/eva", 0, START.replace(day=2))],
        MailboxActivity=[
            saved(1, "<a@x.example>", 4),
            linux(9, "StoreFileTruncated", "", 0, ItemId="", Actor="mallory"),
        ],
    )

    lost = rows["eva", "a@x.example"]
    assert (lost["Verdict"], lost["NearestAct"], lost["NearestActBy"]) == (
        "gone without record",
        "StoreFileTruncated",
        "mallory",
    )


def test_a_stored_size_that_changed_is_an_alteration(bench: Bench) -> None:
    name = {"StoreKind": "maildir", "Path": "home/eva/Maildir/cur/1.M1.mx,S=731:2,", "Mailbox": "eva"}
    by_name = bench.ledger(
        MailboxActivity=[saved(1, "<a@x.example>", 4)],
        PresentMessage=[listed(60, "<a@x.example>", SizeBytes=700, StatedSizeBytes=731, **name)],
    )
    by_log = bench.ledger(
        MailboxActivity=[saved(1, "<a@x.example>", 4, SizeBytes=731)],
        PresentMessage=[listed(60, "<a@x.example>", SizeBytes=700, **name)],
    )
    same = bench.ledger(
        MailboxActivity=[saved(1, "<a@x.example>", 4, SizeBytes=731)],
        PresentMessage=[listed(60, "<a@x.example>", SizeBytes=731, StatedSizeBytes=731, **name)],
    )

    assert verdict(by_name, "a@x.example", "eva") == "altered"
    assert verdict(by_log, "a@x.example", "eva") == "altered"
    assert verdict(same, "a@x.example", "eva") == "present"


def test_a_body_that_differs_between_two_listings_is_an_alteration(bench: Bench) -> None:
    before, after = {"_Exhibit": "E8", "BodyDigest": "aa"}, {"_Exhibit": "E9", "BodyDigest": "bb"}
    rows = bench.ledger(
        MailboxActivity=[delivered(1, "<a@x.example>")],
        PresentMessage=[listed(30, "<a@x.example>", **before), listed(60, "<a@x.example>", **after)],
    )

    assert verdict(rows, "a@x.example") == "altered"


def test_what_only_the_earlier_of_two_listings_has_is_gone(bench: Bench) -> None:
    rows = bench.ledger(
        PresentMessage=[
            listed(30, "<a@x.example>", _Exhibit="E8"),
            listed(30, "<b@x.example>", _Exhibit="E8"),
            listed(60, "<b@x.example>"),
        ]
    )

    assert verdict(rows, "a@x.example") == "gone without record"
    assert verdict(rows, "b@x.example") == "present"


def test_a_message_without_proof_of_delivery_is_planted_only_where_deliveries_are_proved(
    bench: Bench,
) -> None:
    proved = [delivered(1, "<a@x.example>"), delivered(50, "<b@x.example>")]
    rows = bench.ledger(
        MailboxActivity=proved,
        PresentMessage=[
            listed(60, "<p@x.example>", TimeGenerated=at(20)),
            listed(60, "<old@x.example>", TimeGenerated=at(-500)),
            listed(60, "<own@x.example>", "sent items", TimeGenerated=at(20)),
        ],
    )

    assert verdict(rows, "p@x.example") == "planted"
    assert verdict(rows, "old@x.example") == "present"
    assert verdict(rows, "own@x.example") == "present"


def test_a_forged_id_cannot_pass_for_the_message_that_is_missing(bench: Bench) -> None:
    """The attacker deletes a message and sends another one under its id."""
    rows = bench.ledger(
        MailboxActivity=[
            delivered(1, "<a@x.example>"),
            {**delivered(30, "<a@x.example>"), "ItemId": "trace-other"},
        ],
        PresentMessage=[listed(60, "<a@x.example>")],
    )

    row = rows[EVA, "a@x.example"]
    assert (row["Verdict"], row["KeyStrength"]) == ("unknown", "contested")
    assert "which of them is missing" in row["Reason"]


def test_a_contested_id_of_which_nothing_is_left_is_gone(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[
            delivered(1, "<a@x.example>"),
            {**delivered(30, "<a@x.example>"), "ItemId": "trace-other"},
            act(40, "HardDeleted", "<a@x.example>"),
        ],
        PresentMessage=[listed(60, "<b@x.example>")],
    )

    assert verdict(rows, "a@x.example") == "gone without record"


@pytest.mark.parametrize("bad", ["", "<>", " ", "<\u200b>"])
def test_messages_with_empty_ids_are_not_taken_for_one(bench: Bench, bad: str) -> None:
    rows = bench.ledger(
        MailboxActivity=[saved(1, bad, 4), saved(2, bad, 5), linux(9, "HardDeleted", bad, 4)],
    )

    assert {key: row["Verdict"] for (_, key), row in rows.items()} == {
        "item inbox/4": "deleted with record",
        "item inbox/5": "unknown",
    }
    assert {row["KeyStrength"] for row in rows.values()} == {"weak"}


def test_an_id_of_another_mailbox_changes_nothing(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[
            delivered(1, "<a@x.example>"),
            delivered(2, "<a@x.example>", Mailbox="ann@contoso.example"),
            act(9, "HardDeleted", "<a@x.example>", Mailbox="ann@contoso.example"),
        ],
        PresentMessage=[listed(60, "<a@x.example>")],
    )

    assert verdict(rows, "a@x.example") == "present"
    assert verdict(rows, "a@x.example", "ann@contoso.example") == "deleted with record"


def test_a_line_without_its_message_id_is_joined_by_uid(bench: Bench) -> None:
    rows = bench.ledger(MailboxActivity=[saved(1, "<a@x.example>", 4), linux(9, "HardDeleted", "", 4)])

    assert verdict(rows, "a@x.example", "eva") == "deleted with record"


def test_the_short_name_of_a_mailbox_is_its_only_full_one(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[
            saved(1, "<a@x.example>", 4),
            delivered(1, "<a@x.example>"),
            linux(9, "HardDeleted", "<a@x.example>", 4),
        ],
    )

    assert list(rows) == [(EVA, "a@x.example")]


def test_hostile_ids_are_kept_as_text_and_cut(bench: Bench) -> None:
    hostile = [
        "<'; DROP TABLE x; --@x.example>",
        "<" + "a" * 5000 + "@x.example>",
        "=cmd|'/c calc'!A1",
        "<a@x>\x1b[2J",
    ]
    rows = bench.ledger(MailboxActivity=[delivered(i, text) for i, text in enumerate(hostile)])

    assert len(rows) == len(hostile)
    assert max(len(row["MessageId"]) for row in rows.values()) <= 1000


def test_the_records_behind_a_row_are_named_exactly(bench: Bench) -> None:
    rows = bench.ledger(
        MailboxActivity=[
            delivered(1, "<a@x.example>", _Exhibit="E16777215", _Position=1_099_511_627_775),
            act(5, "HardDeleted", "<a@x.example>", _Exhibit="E12", _Position=987_654_321),
        ],
    )

    row = rows[EVA, "a@x.example"]
    assert (row["_Exhibit"], row["_Position"]) == ("E16777215", 1_099_511_627_775)
    assert {"e": "E12", "p": 987_654_321, "what": "removed"} in row["Evidence"]
    assert row["RemovedAt"] == START.replace(minute=5)
