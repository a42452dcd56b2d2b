"""Message ids are chosen by senders: whatever they choose, it does not change what is said of somebody else's message."""

from __future__ import annotations

import os
import re
from email.header import decode_header, make_header
from functools import cache
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .histories import Bench, Row, act, at, delivered, linux, listed, saved

BENCH = Bench()
EXAMPLES = int(os.environ.get("MAILWITNESS_HISTORIES", "10"))
EVA = "eva@contoso.example"
VICTIM, KEY = "<victim.0001@x.example>", "victim.0001@x.example"
CLAIMS_LOSS = {"gone without record", "deleted with record"}
LONG = "<" + "l" * 90 + "@x.example>"
# What a sender can write; the first seven are the victim's id for whoever normalises.
FORMS = (
    VICTIM, VICTIM.upper(), VICTIM.strip("<>"), f"<{VICTIM}>", "<victim .0001@x.example>", "<victim\u200b.0001@x.example>", "<victim.0001\r\n @x.example>",
    "=?utf-8?q?=3Cvictim.0001@x.example=3E?=", "=?utf-8?b?PHZpY3RpbS4wMDAxQHguZXhhbXBsZT4=?=", "<victim.0001@x.example", "<victim.0001@x.example>.", "<xvictim.0001@x.example>",
    "", "<>", "<\u200b>", " ", LONG, LONG.replace("l@", "m@"), "<" + "z" * 3000 + "@x.example>", "<'; DROP TABLE x; --@x.example>", "<a\x1fb@x.example>", "item inbox/4", "description ", "<v%@x.example>",
)  # fmt: skip


class Forged(NamedTuple):
    """A message of the attacker: its id, and what became of it."""

    written: str
    fate: str


FATES = st.sampled_from(("kept", "deleted", "lost"))
ATTACKS = st.lists(st.builds(Forged, written=st.sampled_from(FORMS), fate=FATES), max_size=5)


@pytest.fixture(name="bench")
def _bench() -> Bench:
    return BENCH


def as_logged(written: str) -> str:
    """Return an id as Dovecot 2.3 writes it, which was seen on a real host: decoded, question marks for controls, 80 characters."""
    text = str(make_header(decode_header(written))) if "=?" in written else written
    text = re.sub(r"\r\n(?=[ \t])", "", text)
    text = re.sub(r"[\x00-\x1f\x7f]", "?", text)
    return text if len(text) <= 80 else text[:77] + "..."


def normal(written: str) -> str:
    """Return an id without what does not distinguish two ids: brackets, blanks, invisible characters, case."""
    return re.sub(r"[\s<>\x00-\x20\u200b-\u200f]", "", written).lower()


def told(attacks: list[Forged], fate: str, *, on_linux: bool) -> dict[tuple[str, str], Row]:
    """Return the ledger of a mailbox with the victim's message and the attacker's, each delivered on its own."""
    records: list[Row] = []
    present = [listed(600, "<other@x.example>", TimeGenerated=None, **_shape(on_linux=on_linux))]
    for number, one in enumerate([Forged(VICTIM, fate), *attacks]):
        records += _records(number, one, on_linux=on_linux)
        if one.fate == "kept":
            arrived = {"TimeGenerated": at(number * 10 + 1), "Subject": f"s{number}"}
            present.append(listed(600, one.written, **arrived, **_shape(on_linux=on_linux)))
    return BENCH.ledger(MailboxActivity=records, PresentMessage=present)


def _shape(*, on_linux: bool) -> dict[str, Any]:
    return {"Mailbox": "eva" if on_linux else EVA, "StoreKind": "pst"}


def _records(number: int, one: Forged, *, on_linux: bool) -> list[Row]:
    minute = number * 10 + 1
    if on_linux:
        rows = [saved(minute, as_logged(one.written), number + 1)]
        gone = linux(minute + 300, "HardDeleted", as_logged(one.written), number + 1)
    else:
        rows = [{**delivered(minute, one.written), "ItemId": f"trace-{number}"}]
        gone = act(minute + 300, "HardDeleted", one.written, ItemId=f"item-{number}")
    return [*rows, gone] if one.fate == "deleted" else rows


@cache
def alone(fate: str, *, on_linux: bool) -> Row:
    """Return the victim's row when nobody attacks."""
    return told([], fate, on_linux=on_linux)["eva" if on_linux else EVA, KEY]


@settings(max_examples=EXAMPLES, deadline=None)
@given(attacks=ATTACKS, fate=FATES, on_linux=st.booleans())
def test_no_id_that_a_sender_can_write_changes_what_is_said_of_another_message(
    attacks: list[Forged], fate: str, on_linux: bool
) -> None:
    rows = told(attacks, fate, on_linux=on_linux)

    same = [
        one
        for one in attacks
        if KEY in {normal(one.written), normal(as_logged(one.written)) if on_linux else ""}
    ]
    row = rows.get(("eva" if on_linux else EVA, KEY))
    if same:
        _judge_contested(rows, row, [*same, Forged(VICTIM, fate)])
    else:
        expected = alone(fate, on_linux=on_linux)
        assert row is not None
        assert [row[name] for name in ("Verdict", "KeyStrength", "KeyKind", "Reason")] == [
            expected[name] for name in ("Verdict", "KeyStrength", "KeyKind", "Reason")
        ]
        assert row["KeyStrength"] == "strong"
    _judge_all(rows, [*attacks, Forged(VICTIM, fate)], on_linux=on_linux)


def _judge_contested(rows: dict[tuple[str, str], Row], row: Row | None, same: list[Forged]) -> None:
    """Several messages go by the victim's id: the row says so, and claims a loss only where none of them is there."""
    if row is None:
        # The log wrote the attacker's id as the victim's, and only the attacker's is there: the row goes by that one.
        row = next(one for (_, key), one in rows.items() if "=?utf-8" in key)
    assert row["KeyStrength"] == "contested"
    if all(one.fate == "kept" for one in same):
        assert row["Verdict"] not in CLAIMS_LOSS
    if all(one.fate == "lost" for one in same):
        assert row["Verdict"] == "gone without record"
    if any(one.fate == "kept" for one in same) and row["Verdict"] == "present":
        assert "different messages" in row["Reason"]


def _judge_all(rows: dict[tuple[str, str], Row], messages: list[Forged], *, on_linux: bool) -> None:
    """No message that is there is claimed to be lost, and every row says by what it was joined."""
    there = {normal(one.written) for one in messages if one.fate == "kept"}
    unnamed = [one for one in messages if not normal(one.written)]
    for (_, key), row in rows.items():
        assert row["Reason"]
        assert row["KeyStrength"] in {"strong", "weak", "contested"}
        assert row["KeyStrength"] != "strong" or re.fullmatch(r"\S+@\S+", key)
        if row["KeyKind"] == "message id" and row["KeyStrength"] != "contested":
            assert not (key in there and row["Verdict"] in CLAIMS_LOSS)
        if row["KeyKind"] != "message id" and unnamed and all(one.fate == "kept" for one in unnamed):
            assert row["Verdict"] not in CLAIMS_LOSS
        if (
            on_linux
            and key.endswith("...")
            and any(one.fate == "kept" and len(one.written) > 80 for one in messages)
        ):
            assert row["Verdict"] != "planted"


@pytest.mark.parametrize(
    "written",
    [LONG, "<" + "c" * 2000 + "@x.example>", "<tab\tin@x.example>", "=?utf-8?q?=3Cenc@x.example=3E?="],
)
def test_an_id_that_the_log_shortens_or_rewrites_is_one_with_that_of_the_listing(
    bench: Bench, written: str
) -> None:
    rows = bench.ledger(
        MailboxActivity=[saved(1, as_logged(written), 1), saved(2, "<b@x.example>", 2)],
        PresentMessage=[listed(60, written, Mailbox="eva"), listed(60, "<c@x.example>", Mailbox="eva")],
    )

    found = {row["Subject"] or key: (row["Verdict"], row["KeyStrength"]) for (_, key), row in rows.items()}
    assert found.pop("b@x.example") == ("gone without record", "strong")
    assert found.pop("c@x.example")[0] == "present"
    assert list(found.values()) == [("present", "weak")]


def test_a_shortened_id_that_may_mean_several_messages_is_not_called_gone(bench: Bench) -> None:
    others = [LONG, LONG.replace("l@", "m@")]
    rows = bench.ledger(
        MailboxActivity=[saved(1, as_logged(LONG), 1)],
        PresentMessage=[listed(60, written, Mailbox="eva", TimeGenerated=None) for written in others],
    )

    (row,) = [row for (_, key), row in rows.items() if key.endswith("...")]
    assert (row["Verdict"], row["KeyStrength"]) == ("unknown", "weak")
    assert "shortened" in row["Reason"]


def test_a_message_without_an_id_is_only_gone_where_the_listing_has_none_without(bench: Bench) -> None:
    record = saved(1, "", 4)
    unsure = bench.ledger(
        MailboxActivity=[record], PresentMessage=[listed(60, "", Mailbox="eva", TimeGenerated=at(1))]
    )
    sure = bench.ledger(MailboxActivity=[record], PresentMessage=[listed(60, "<b@x.example>", Mailbox="eva")])

    assert unsure["eva", "item inbox/4"]["Verdict"] == "unknown"
    assert {row["Verdict"] for row in unsure.values()} == {"unknown", "present"}
    assert sure["eva", "item inbox/4"]["Verdict"] == "gone without record"
    assert sure["eva", "item inbox/4"]["KeyStrength"] == "weak"


def test_a_traced_message_without_an_id_goes_by_the_id_of_the_transport_and_explains_no_loss(
    bench: Bench,
) -> None:
    rows = bench.ledger(
        MailboxActivity=[
            delivered(1, "<a@x.example>"),
            {**delivered(5, ""), "ItemId": "network-1"},
            {**delivered(6, ""), "ItemId": ""},
        ],
        PresentMessage=[listed(60, "<b@x.example>")],
    )

    assert (rows[EVA, "item network-1"]["KeyKind"], rows[EVA, "item network-1"]["KeyStrength"]) == (
        "item id",
        "weak",
    )
    assert (rows[EVA, "a@x.example"]["Verdict"], rows[EVA, "a@x.example"]["NearestAct"]) == (
        "gone without record",
        "",
    )
