"""The people, networks and clients of the synthetic tenant contoso.example."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import random

DOMAIN = "contoso.example"
TENANT_ID = "6f1d2c3b-0a4e-4d58-9b77-1c2d3e4f5a60"
OFFICE_IP = "192.0.2.10"
INTRUDER_IP = "203.0.113.66"
PHISHER = "accounts@woodgrove-billing.example"
PHISHER_IP = "203.0.113.25"
# A fixed seed: the shipped files are compared byte by byte with a fresh run.
SEED = 1070008


class Person(msgspec.Struct, frozen=True):
    """One mailbox owner and the way that person normally works."""

    key: str
    name: str
    home_ip: str
    client: str
    country: str = "GB"
    city: str = "London"
    is_french: bool = False

    @property
    def upn(self) -> str:
        """The user principal name."""
        return f"{self.key}@{DOMAIN}"

    @property
    def object_id(self) -> str:
        """The Entra object id, the same in every file."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, self.upn))

    @property
    def mailbox_guid(self) -> str:
        """The Exchange mailbox id, the same in every file."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.upn))

    def session(self, day: int) -> str:
        """The sign-in session of one day: a new token a day, as browsers have."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.upn}/{day}"))


OWA = "Client=OWA;Action=ViaProxy"
OUTLOOK = "Client=MSExchangeRPC"
PHONE = "Client=OutlookService;Outlook-iOS/2.0;"
INTRUDER_OWA = (
    "Client=OWA;Action=ViaProxy;Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
)

PEOPLE = {
    person.key: person
    for person in (
        Person("dana.whitfield", "Dana Whitfield", "198.51.100.21", OWA),
        Person("marcus.oyelaran", "Marcus Oyelaran", "198.51.100.34", OUTLOOK),
        Person("helen.brandt", "Helen Brandt", "198.51.100.47", OUTLOOK),
        Person("tomas.riel", "Tomas Riel", "198.51.100.58", PHONE),
        Person("priya.nair", "Priya Nair", "2001:db8:51a:7::1f", OWA),
        Person("jonas.lindqvist", "Jonas Lindqvist", "198.51.100.72", OUTLOOK),
        Person("amelie.roux", "Amelie Roux", "198.51.100.90", OWA, "FR", "Lyon", is_french=True),
        Person("sofia.keller", "Sofia Keller", "198.51.100.105", OWA),
        Person("nathan.rowe", "Nathan Rowe", "198.51.100.118", OUTLOOK),
        Person("grace.adeyemi", "Grace Adeyemi", "198.51.100.131", OWA),
    )
}
VICTIM = PEOPLE["dana.whitfield"]
ADMINISTRATOR = PEOPLE["nathan.rowe"]
HELP_DESK = PEOPLE["sofia.keller"]
COUNSEL = PEOPLE["grace.adeyemi"]
# The eight who produce the everyday noise; administrator and counsel act on purpose only.
STAFF = tuple(list(PEOPLE.values())[:8])


def new_id(source: random.Random) -> str:
    """Draw a version 4 GUID from a seeded source, so that runs agree."""
    return str(uuid.UUID(int=source.getrandbits(128), version=4))


def opaque(source: random.Random, prefix: str, length: int) -> str:
    """Draw a base64-looking identifier as Exchange uses for folders and messages."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return prefix + "".join(source.choice(alphabet) for _ in range(length))
