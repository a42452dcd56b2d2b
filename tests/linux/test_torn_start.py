"""A large log whose first line is torn, or that is not in UTF-8, is read the fast way with the rows of the plain way."""

from __future__ import annotations

import pytest

from mailwitness.readers import auditd, syslog_lines
from mailwitness.sources import limits

from ..engine.cases import loaded

LINES = [
    b"08+00:00 mx1 dovecot: imap(eva)<1><s1>: expunge: box=INBOX, uid=6, msgid=<a@b>, size=1",
    *(
        b"2026-11-21T01:31:%02d.000000+00:00 mx1 dovecot: imap(eva)<1><s1>: expunge: box=INBOX, uid=%d, msgid=<%d@contoso.example>, size=7"
        % (number, number, number)
        for number in range(40)
    ),
    b"",
]


@pytest.mark.parametrize("mark", [b"", b"M\xfcller"], ids=["torn", "latin-1"])
def test_the_fast_way_of_a_torn_or_foreign_log_gives_the_rows_of_the_plain_way(
    mark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions lead to the original bytes in both ways, and what is damaged is in quarantine in both."""
    content = b"\n".join(LINES).replace(b"uid=9, msgid=<9", b"uid=9, msgid=<" + mark)
    assert syslog_lines.bulk(content) == "syslog_fast"
    with loaded(content) as found:
        plain, plain_quarantine = found.rows("Syslog"), found.quarantine()
        proofs = [found.proof(row) for row in plain]
    monkeypatch.setattr(limits, "BULK_BYTES", 1)

    with loaded(content) as found:
        fast, fast_quarantine = found.rows("Syslog"), found.quarantine()
        assert [found.proof(row) for row in fast] == proofs

    assert len(fast) == len(LINES) - 2
    assert fast == plain
    assert fast_quarantine == plain_quarantine


def test_the_first_whole_record_of_an_audit_log_decides() -> None:
    """Half a record at the start does not make a large log slow."""
    whole = b'type=SYSCALL msg=audit(1772442201.349:851): arch=c000003e syscall=87 success=yes exe="/usr/bin/rm"\n'

    assert auditd.bulk(b"c000003e syscall=87\n" + whole) == "audit_batches"
    assert auditd.bulk(whole.rstrip() + b" " + whole) == ""
