"""Saved answers of an IMAP server list the messages that are there, and what is torn is damage with its place."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ..engine.cases import loaded

ENVELOPE = b'("Mon, 2 Mar 2026 08:00:00 +0000" "Figures" (("Eva" NIL "eva" "contoso.example")) NIL NIL ((NIL NIL "Bob" "contoso.example")) NIL NIL NIL "<a@contoso.example>")'
HEADERS = b"Message-ID: <b@contoso.example>\r\nSubject: * 9 FETCH (UID 99)\r\n\r\n"
LISTING = b"\r\n".join(
    [
        b'a1 EXAMINE "Deleted \\"Items\\""',
        b"* 3 EXISTS",
        b"a1 OK [READ-ONLY] Examine completed",
        b'* 1 FETCH (UID 5 FLAGS (\\Seen \\Deleted) INTERNALDATE "02-Mar-2026 09:00:00 +0100" RFC822.SIZE 420 ENVELOPE '
        + ENVELOPE
        + b")",
        b"* 2 FETCH (UID 6 FLAGS () BODY[HEADER.FIELDS (MESSAGE-ID SUBJECT)] {%d}\r\n%s)"
        % (len(HEADERS), HEADERS),
        b"what is this",
        b"* 3 FETCH (UID 7 FLAGS (\\Se",
        b"a2 OK Fetch completed",
        b"",
    ]
)


def test_answers_are_messages_with_folder_uid_flags_and_identity() -> None:
    """A literal is read by its length: a header that looks like an answer is none."""
    with loaded(LISTING) as found:
        rows = found.rows("PresentMessage")
        assert found.counts() == (4, 2, 0, 2)
        assert [kept["reason"] for kept in found.quarantine()] == [
            "the line is no answer of a mail server",
            "the answer is cut off",
        ]
        assert found.proof(rows[0]).startswith(b"* 1 FETCH (UID 5")

    first, second = rows
    assert (first["Uid"], first["Folder"], first["IsDeleted"], first["SizeBytes"]) == (
        "5",
        'Deleted "Items"',
        True,
        420,
    )
    assert (first["MessageId"], first["Sender"], first["Recipients"]) == (
        "<a@contoso.example>",
        "eva@contoso.example",
        "bob@contoso.example",
    )
    assert str(first["TimeGenerated"]) == "2026-03-02 08:00:00"
    assert (second["Uid"], second["MessageId"], second["IsDeleted"]) == ("6", "<b@contoso.example>", False)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, len(LISTING)), st.binary(max_size=12))
def test_torn_answers_lose_nothing(cut: int, noise: bytes) -> None:
    """Whatever is cut or put in, counts add up and nothing is raised."""
    with loaded(LISTING[:cut] + noise + LISTING[cut:]) as found:
        records, kept, duplicates, quarantined = found.counts()

    assert records == kept + duplicates + quarantined
