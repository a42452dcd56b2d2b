"""Reads have a parser of their own, which decides as the parser of all other acts would."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from mailwitness import activities
from mailwitness.content import loader
from mailwitness.content_check import TEST_NOW, Bench

_NAMES = [
    "Eva@contoso.example", "eva", "", " ", "NT AUTHORITY\\SYSTEM", "S-1-5-18", "0b6f4c52-1111-2222-3333-444444444444",
    "ServicePrincipal_x", "x@eurprd.prod.outlook.com", "bob@contoso.example",
]  # fmt: skip
_PATHS = [
    "",
    "\\Inbox",
    "\\Posteingang\\x",
    "\\Recoverable Items\\Deletions",
    "Sent Items",
    "not available",
    "\\Mine",
]
_REFERENCES = ["", '{"Id": "LgAAEKAAA"}', "AAENAAA"]
_VALUES: dict[str, list[Any]] = {
    "Operation": ["MailItemsAccessed", "MailItemsAccessed", "mailitemsaccessed"],
    "UserId": _NAMES,
    "MailboxOwnerUPN": _NAMES,
    "UserType": ["Regular", "Admin", "System", "dcadmin", "ServicePrincipal", ""],
    "Logon_Type": ["Owner", "delegated", "Admin", "SystemService", "BestAccess", ""],
    "ResultStatus": ["Succeeded", "True", "failed", "Partial", "x", ""],
    "ClientInfoString": [
        "",
        "Client=OWA;Mozilla;",
        "Client=TBA;x",
        "client=elc",
        "Client=WebServices;Protocol=IMAP",
    ],
    "UserAgent": ["", "Mozilla"],
    "SessionId": ["", "s1"],
    "ApplicationId": ["", "fb78d390-0c51-40cd-8e17-fdbfab77341b"],
    "AppAccessContext": [None, {"AADSessionId": "a1"}],
    "CrossMailboxOperations": [True, False, None],
    "FolderPath": _PATHS,
    "DestFolderPath": _PATHS,
    "Folder": _REFERENCES,
    "DestFolder": _REFERENCES,
    "AffectedItems": ["", '[{"IsPriorityCleanup": true}]'],
    "ParametersBag": [None, {"Name": "n", "Mailbox": "bob", "Identity": "x"}],
    "OperationPropertiesBag": [None, {"RuleName": "r"}],
    "ItemCount": [None, 0, 5],
    "FirstMessageId": ["", "<1@mail.example>"],
    "SourceSystem": ["", "ExchangeServer"],
}


def _rows(count: int) -> list[dict[str, Any]]:
    chosen = random.Random(4)  # noqa: S311 - the same rows every time
    return [
        {"TimeGenerated": "2026-03-02T08:00:00Z", "OfficeId": str(i)}
        | {name: chosen.choice(values) for name, values in _VALUES.items()}
        for i in range(count)
    ]


def test_reads_are_told_as_among_all_other_acts() -> None:
    parsers = {parser.name: parser for parser in loader.parsers()}
    every = parsers["OfficeActivity to MailboxActivity"]
    asked = every.query.replace("| where Operation in~ (", '| where Operation in~ ("MailItemsAccessed", ', 1)
    compared = [
        msgspec.structs.replace(every, query=asked),
        parsers["OfficeActivity of reads to MailboxActivity"],
    ]
    bench = Bench()
    bench.fill("OfficeActivity", _rows(600), "here")
    among, alone = (
        f"({activities.parser_sql(bench.connection, bench.engine, parser, now=TEST_NOW)})"
        for parser in compared
    )

    only = [
        bench.connection.execute(f"FROM {one} EXCEPT ALL FROM {other}").fetchall()
        for one, other in ((among, alone), (alone, among))
    ]
    told = bench.connection.execute(f"SELECT count(*), count(DISTINCT ActorType) FROM {alone}").fetchall()
    bench.close()

    assert only == [[], []]
    assert told == [(600, 6)]
