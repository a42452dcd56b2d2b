"""What a run needs: never less than a query may see, and nothing of a platform that no query asks about."""

from __future__ import annotations

import pytest

from mailwitness import needs
from mailwitness.content.schemas import Parser

ACTS = {"HardDeleted", "Read", "Updated"}


@pytest.mark.parametrize(
    ("query", "platforms"),
    [
        ('MailboxActivity | where Platform == "Linux" and Activity == "Read"', {"Linux"}),
        (
            'MailboxActivity | where Activity == "Read" | where Platform in~ ("Linux", "macOS")',
            {"Linux", "macOS"},
        ),
        ("MailboxActivity | where Platform == 'Linux' and (Actor == 'a' or Actor == 'b')", {"Linux"}),
        ('MailboxActivity | where Platform in ("Linux", "macOS") | where Platform == "macOS"', {"macOS"}),
        (
            'let a = MailboxActivity | where Platform == "Linux"; MailboxActivity | where Platform == "macOS" | join a on Actor',
            {"Linux", "macOS"},
        ),
        ('MailboxActivity | where Platform != "Linux"', None),
        ('MailboxActivity | where Platform == "Linux" or Activity == "Read"', None),
        ('MailboxActivity | where not(Platform == "Linux")', None),
        ('MailboxActivity | where (Platform == "Linux" or Platform == "macOS")', None),
        ('MailboxActivity | where Platform == "Linux" | union MailboxActivity', None),
        ('MailboxActivity | extend x = Platform == "Linux"', None),
        ('MailboxActivity | where Platform == "Unheard-of"', None),
        ('MailboxActivity | where Platform !in ("Linux")', None),
        ('MailboxActivity | where iff(Platform == "Linux", true, Activity == "Read")', None),
        ('MailboxActivity | where Activity == "Read" // Platform == "Linux"', None),
    ],
)
def test_only_a_condition_that_holds_for_every_row_narrows_a_query(
    query: str, platforms: set[str] | None
) -> None:
    assert needs.platforms_asked(query) == platforms


def parser(*platforms: str) -> Parser:
    written = ", ".join(f'"{name}"' for name in platforms)
    return Parser(
        id="p", name="p", table="Syslog", activities=sorted(ACTS), query=f"Syslog | where x in ({written})"
    )


def test_what_one_platform_asks_is_not_needed_of_another() -> None:
    found = needs.of_queries(
        [
            'MailboxActivity | where Platform == "Linux" and Activity == "Updated"',
            'MailboxActivity | where Activity == "HardDeleted"',
            "Syslog | where Facility == 'Read'",
        ],
        ACTS,
    )

    assert found.of(parser("Linux")) == {"Updated", "HardDeleted"}
    assert found.of(parser("ExchangeOnline", "Entra")) == {"HardDeleted"}
    assert found.of(parser()) == {"Updated", "HardDeleted"}
    assert found.activities() == {"Updated", "HardDeleted"}
    assert found.plus(["Read"]).of(parser("Entra")) == {"HardDeleted", "Read"}


def test_a_query_that_names_no_activity_may_mean_any() -> None:
    found = needs.of_queries(['MailboxActivity | where Platform == "Linux" | where Actor == "eva"'], ACTS)

    assert found.of(parser("Linux")) == ACTS
    assert found.of(parser("Windows")) == set()
