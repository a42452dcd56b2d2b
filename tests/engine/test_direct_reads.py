"""What a query can ask of rows of which something is known: never less than it reads."""

from __future__ import annotations

import re

import pytest

from mailwitness import direct_reads

FACTS: dict[str, direct_reads.Fact] = {
    "MailEvent": frozenset({"client", "queue"}),
    "SenderExe": frozenset({""}),
    "ProcessName": re.compile("postfix.*"),
}


@pytest.mark.parametrize(
    "query",
    [
        'Syslog | where MailEvent == "login"',
        'Syslog | where MailEvent in ("login", "deliver") and MailUser != ""',
        'Syslog | where (MailEvent =~ "LOGIN" or SenderExe != "") and MailUser != ""',
        'Syslog | where MailUser != "" | where ProcessName in~ ("sshd", "Sudo")',
        'let A = Syslog | where MailEvent == "x"; Syslog | where SenderExe == "y" | join A on MailUser',
    ],
)
def test_what_no_filter_accepts_is_not_read(query: str) -> None:
    read = direct_reads.of_query(query, "Syslog", {"MailUser"})

    assert direct_reads.columns_of([read], FACTS) == set()


@pytest.mark.parametrize(
    "query",
    [
        "Syslog",
        'Syslog | where MailEvent == "client"',
        'Syslog | where MailEvent in ("login", "queue")',
        'Syslog | where MailEvent in~ ("QUEUE")',
        'Syslog | where MailEvent !in ("login")',
        'Syslog | where MailEvent != "queue"',
        'Syslog | where not(MailEvent == "login")',
        'Syslog | where MailEvent startswith "log"',
        'Syslog | where MailEvent == "login" or MailUser == "eva"',
        'Syslog | where MailEvent == "log\\x69n"',
        'Syslog | where "login" == MailEvent',
        'Syslog | where MailEvent == strcat("client", "")',
        'Syslog | where tolower(MailEvent) == "login"',
        'Syslog | where ProcessName =~ "POSTFIX/qmgr"',
        'Syslog | where ProcessName != "dovecot"',
        'Syslog | where SenderExe == ""',
        'Syslog | extend A = 1 | where MailEvent == "login"',
        'let A = Syslog | where MailEvent == "login"; Syslog | join A on MailUser',
        "SELECT MailUser FROM Syslog WHERE MailEvent = 'login'",
    ],
)
def test_what_may_be_read_is_read(query: str) -> None:
    read = direct_reads.of_query(query, "Syslog", {"MailUser"})

    assert direct_reads.columns_of([read], FACTS) == {"MailUser"}
