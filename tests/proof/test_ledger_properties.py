"""For any history of a mailbox of which any records are missing, the ledger says nothing that is not true."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from .histories import Bench, act, delivered, linux, listed, saved

BENCH = Bench()
# A few histories in every run; `make ledger-histories` tries a thousand.
HISTORIES = int(os.environ.get("MAILWITNESS_HISTORIES", "16"))
FOLDERS = ("inbox", "archive", "trash")
EVA = "eva@contoso.example"
CLAIMS_LOSS = {"gone without record", "deleted with record"}


class Step(NamedTuple):
    """One thing that happens to one message, and which of its (at most two) records survive."""

    message: int
    what: str
    folder: str
    kept: tuple[bool, bool]


STEPS = st.lists(
    st.builds(
        Step,
        message=st.integers(0, 5),
        what=st.sampled_from(("deliver", "move", "delete", "restore", "read")),
        folder=st.sampled_from(FOLDERS),
        kept=st.tuples(st.booleans(), st.booleans()),
    ),
    min_size=1,
    max_size=30,
)
LISTINGS = st.sampled_from(("whole", "timeless", "one folder", "none"))


class Story:
    """What truly happened, and what is known of it."""

    def __init__(self, steps: list[Step], listing: str, listed_after: int, *, on_linux: bool) -> None:
        self.places: dict[int, str] = {}
        self.at_listing: dict[int, str] = {}
        self.records: list[dict[str, Any]] = []
        self.mentioned: set[int] = set()
        self.last_record: dict[int, int] = {}
        self.uids: dict[int, int] = {}
        self.on_linux = on_linux
        self.listed_at = min(listed_after, len(steps))
        for number, step in enumerate(steps):
            if number == self.listed_at:
                self.at_listing = dict(self.places)
            self._do(number + 1, step)
        if self.listed_at == len(steps):
            self.at_listing = dict(self.places)
        self.listing = listing
        self.present = self._listing()

    def _do(self, number: int, step: Step) -> None:
        minute = number * 10
        here = self.places.get(step.message)
        if step.what == "deliver" and here is None and step.message not in self.uids:
            self.uids[step.message] = number
            self.places[step.message] = "inbox"
            self._record(step, 0, minute, "Delivered", "inbox")
        elif step.what == "move" and here is not None:
            self._record(step, 0, minute, "Moved", here, step.folder)
            if self.on_linux and here != step.folder:
                self._record(step, 1, minute, "HardDeleted", here)
            self.places[step.message] = step.folder
        elif step.what == "delete" and here is not None:
            del self.places[step.message]
            self._record(step, 0, minute, "HardDeleted", here)
        elif step.what == "restore" and here is None and step.message in self.uids:
            self.places[step.message] = step.folder
            self._record(step, 0, minute, "Created", step.folder)
        elif step.what == "read" and here is not None:
            self._record(step, 0, minute, "Updated", here)

    def _record(
        self, step: Step, which: int, minute: int, activity: str, folder: str, target: str = ""
    ) -> None:
        if not step.kept[which]:
            return
        self.mentioned.add(step.message)
        self.last_record[step.message] = minute
        key = f"<m{step.message}@x.example>"
        # A message gets a new uid in each folder: the number of the step is one.
        uid = step.message * 1000 + minute
        if self.on_linux:
            row = (
                saved(minute, key, uid)
                if activity == "Delivered"
                else linux(minute, activity, key, uid, folder, DestinationFolder=target)
            )
        elif activity == "Delivered":
            row = delivered(minute, key)
        else:
            row = act(minute, activity, key, Folder=folder, FolderKind="Other", DestinationFolder=target)
        self.records.append(row)

    def _listing(self) -> list[dict[str, Any]]:
        if self.listing == "none":
            return []
        minute = None if self.listing == "timeless" else self.listed_at * 10 + 5
        shape: dict[str, Any] = {
            "Mailbox": "eva" if self.on_linux else EVA,
            "TimeGenerated": None,
            "StoreKind": "pst",
        }
        if self.listing == "one folder":
            shape["StoreKind"] = "graph"
        rows = [
            listed(minute, f"<m{message}@x.example>", folder, **shape)
            for message, folder in sorted(self.at_listing.items())
            if self.listing != "one folder" or folder == "inbox"
        ]
        # Something else is always there: a listing of nothing at all would be no evidence of a listing.
        return [*rows, listed(minute, "<other@x.example>", **shape)]


@settings(max_examples=HISTORIES, deadline=None)
@given(steps=STEPS, listing=LISTINGS, listed_after=st.integers(0, 30), on_linux=st.booleans())
def test_a_kept_message_is_never_gone_and_a_lost_one_is_never_passed_over(
    steps: list[Step], listing: str, listed_after: int, on_linux: bool
) -> None:
    story = Story(steps, listing, listed_after, on_linux=on_linux)

    rows = BENCH.ledger(MailboxActivity=story.records, PresentMessage=story.present)

    mailbox = "eva" if on_linux else EVA
    for message in range(6):
        row = rows.get((mailbox, f"m{message}@x.example"))
        if row is None:
            assert message not in story.mentioned
            continue
        _judge(story, message, row)


def _judge(story: Story, message: int, row: dict[str, Any]) -> None:
    there_at_listing = message in story.at_listing
    assert row["Reason"], "every verdict says what it rests on"
    assert row["Verdict"] not in {"planted", "altered", "never stored"}
    if row["Verdict"] == "gone without record":
        assert story.listing == "whole"
        assert not there_at_listing
    if row["Verdict"] == "deleted with record":
        assert row["RemovedAt"] is not None
    if row["Verdict"] == "present":
        assert there_at_listing
    if message not in story.places and message not in story.at_listing and story.listing == "whole":
        # Lost at the listing and ever since: named, or there is proof that it lived after the listing.
        assert row["Verdict"] in CLAIMS_LOSS or story.last_record[message] > story.listed_at * 10 + 5


@settings(max_examples=max(HISTORIES // 2, 1), deadline=None)
@given(steps=STEPS, on_linux=st.booleans())
def test_with_every_record_and_a_final_listing_each_verdict_is_exact(
    steps: list[Step], on_linux: bool
) -> None:
    whole = [step._replace(kept=(True, True)) for step in steps]
    story = Story(whole, "whole", len(steps), on_linux=on_linux)

    rows = BENCH.ledger(MailboxActivity=story.records, PresentMessage=story.present)

    mailbox = "eva" if on_linux else EVA
    found = {
        message: rows[mailbox, f"m{message}@x.example"]["Verdict"] for message in sorted(story.mentioned)
    }
    assert found == {
        message: "present" if message in story.places else "deleted with record"
        for message in sorted(story.mentioned)
    }
