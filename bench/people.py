"""The population of the generated tenant: who works from where, with which client, how much."""

from __future__ import annotations

import random
from typing import NamedTuple

DOMAIN = "contoso.example"
CLIENTS = (
    "Client=OWA;Action=ViaProxy",
    "Client=MSExchangeRPC",
    "Client=OutlookService;Outlook-iOS/2.0;",
    "Client=REST;Client=RESTSystem;;",
)
AGENTS = (
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.6 Safari/605.1.15"
    ),
)
# In English and, for one mailbox in eight, in French: names of folders are localised.
FOLDERS = (
    ("\\\\Inbox", "\\\\Sent Items", "\\\\Deleted Items", "\\\\Drafts"),
    (
        "\\\\Bo\\u00eete de r\\u00e9ception",
        "\\\\\\u00c9l\\u00e9ments envoy\\u00e9s",
        "\\\\\\u00c9l\\u00e9ments supprim\\u00e9s",
        "\\\\Brouillons",
    ),
)
TEAMS = ("Finance", "Sales", "Logistics", "Engineering", "People", "Legal", "Research", "Service")


class Worker(NamedTuple):
    """One mailbox owner; `fixed` holds the blanks that never change for that person."""

    fixed: dict[str, str]
    addresses: tuple[str, str]
    folders: tuple[str, str, str, str]
    weight: float


def guid(number: int) -> str:
    """Write a 128-bit number as a GUID."""
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def hire(seed: int, number: int) -> list[Worker]:
    """Return the same population for the same seed.

    A few are busy and most are quiet (weight 1/rank), which is what keeps counts
    per person from being all alike.
    """
    source = random.Random(f"people/{seed}")
    return [_worker(source, rank) for rank in range(1, number + 1)]


def _worker(source: random.Random, rank: int) -> Worker:
    """Draw one person."""
    upn = f"user{rank:04d}@{DOMAIN}"
    fixed = {
        "upn": upn,
        "key": f"{source.getrandbits(64):016X}",
        "object_id": guid(source.getrandbits(128)),
        "mailbox_guid": guid(source.getrandbits(128)),
        "sid": f"S-1-5-21-3141592653-2718281828-1618033988-{20_000_000 + rank}",
        "client": source.choices(CLIENTS, (4, 4, 2, 1))[0],
        "agent": source.choice(AGENTS),
        "team": source.choice(TEAMS),
        "folder_id": f"{source.getrandbits(192):048x}",
    }
    office, home = f"192.0.2.{source.randrange(1, 9)}", f"198.51.100.{source.randrange(1, 255)}"
    return Worker(fixed, (office, home), FOLDERS[source.randrange(8) == 0], 1 / (rank + 5))
