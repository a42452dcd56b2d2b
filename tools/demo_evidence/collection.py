"""The evidence under construction, and the steps that several files witness."""

from __future__ import annotations

import datetime as dt
import random

import msgspec

from demo_evidence.identities import OFFICE_IP, Person, new_id
from demo_evidence.records import (
    OWA_APP,
    Client,
    Mail,
    Record,
    deletion,
    new_message_id,
    sent,
    sign_in,
)

FIRST_DAY = dt.datetime(2026, 10, 5, tzinfo=dt.UTC)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


class Evidence(msgspec.Struct):
    """What each shipped file will hold, in the order it was made."""

    source: random.Random
    audit: list[Record] = msgspec.field(default_factory=list)
    general: list[Record] = msgspec.field(default_factory=list)
    sign_ins: list[Record] = msgspec.field(default_factory=list)
    mails: list[Mail] = msgspec.field(default_factory=list)
    # The audit record whose AuditData the export cuts short.
    cut_id: str = ""


class Place(msgspec.Struct, frozen=True):
    """Where a sign-in came from, and what Entra thought of it."""

    ip: str
    country: str
    city: str
    agent: str = EDGE
    risk: str = "none"
    risk_events: tuple[str, ...] = ()


def at(day: int, hour: int, minute: int, second: int = 0) -> dt.datetime:
    """Return a UTC time on a day of the story; day 1 is Monday 5 October 2026."""
    return FIRST_DAY + dt.timedelta(days=day - 1, hours=hour, minutes=minute, seconds=second)


def usual_client(person: Person, day: int, *, from_home: bool = False) -> Client:
    """Return the client a person normally uses on that day."""
    ip = person.home_ip if from_home else OFFICE_IP
    return Client(person, ip, person.client, person.session(day))


def usual_place(person: Person, *, from_home: bool = False) -> Place:
    """Return the place a person normally signs in from."""
    if from_home:
        return Place(person.home_ip, person.country, person.city)
    return Place(OFFICE_IP, "GB", "London")


def add_sign_in(evidence: Evidence, time: dt.datetime, client: Client, place: Place, error: int = 0) -> None:
    """Witness one sign-in twice: in the audit log and in the Entra export."""
    record = sign_in(evidence.source, time, client, place.agent)
    if error:
        record |= {"Operation": "UserLoginFailed", "ResultStatus": "Failed"}
        record |= {"ErrorNumber": str(error), "LogonError": "InvalidUserNameOrPassword"}
    evidence.audit.append(record)
    evidence.sign_ins.append(_entra_row(evidence.source, time, client, place, error))


def _entra_row(source: random.Random, time: dt.datetime, client: Client, place: Place, error: int) -> Record:
    """Build a sign-in as Microsoft Graph's signIn resource writes it."""
    person = client.person
    reason = "Error validating credentials due to invalid username or password."
    return {
        "id": new_id(source),
        "createdDateTime": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "userDisplayName": person.name,
        "userPrincipalName": person.upn,
        "userId": person.object_id,
        "appId": OWA_APP,
        "appDisplayName": "Office 365 Exchange Online",
        "ipAddress": place.ip,
        "clientAppUsed": "Browser",
        "userAgent": place.agent,
        "correlationId": new_id(source),
        "conditionalAccessStatus": "notApplied",
        "isInteractive": True,
        "riskDetail": "none",
        "riskLevelAggregated": place.risk,
        "riskLevelDuringSignIn": place.risk,
        "riskState": "none" if place.risk == "none" else "atRisk",
        "riskEventTypes_v2": list(place.risk_events),
        "resourceDisplayName": "Office 365 Exchange Online",
        "sessionId": client.session,
        "status": {
            "errorCode": error,
            "failureReason": reason if error else "Other.",
            "additionalDetails": None,
        },
        "deviceDetail": {
            "deviceId": "",
            "displayName": "",
            "operatingSystem": "Linux" if "Linux" in place.agent else "Windows10",
            "browser": "Firefox 128.0" if "Firefox" in place.agent else "Edge 141.0.0",
        },
        "location": {"city": place.city, "state": "", "countryOrRegion": place.country},
    }


def send_mail(
    evidence: Evidence,
    time: dt.datetime,
    client: Client,
    recipients: tuple[str, ...],
    subject: str,
) -> Mail:
    """Send one message: a Send record and the trace rows."""
    source = evidence.source
    mail = Mail(
        time,
        client.person.upn,
        recipients,
        subject,
        new_message_id(source),
        source.randrange(12_000, 90_000),
        client.ip,
    )
    evidence.audit.append(sent(source, mail, client))
    evidence.mails.append(mail)
    return mail


def discard_draft(evidence: Evidence, time: dt.datetime, client: Client, mail: Mail) -> None:
    """Add the HardDelete of the draft that every message written in OWA leaves."""
    path = "\\Brouillons" if client.person.is_french else "\\Drafts"
    evidence.audit.append(
        deletion(evidence.source, time, "HardDelete", client, path, [(mail.subject, mail.message_id)])
    )


def receive_mail(
    evidence: Evidence,
    time: dt.datetime,
    sender: str,
    recipients: tuple[str, ...],
    subject: str,
    from_ip: str,
    status: str = "Delivered",
) -> Mail:
    """Deliver one message from outside: trace rows, nothing in the audit log."""
    source = evidence.source
    host = sender.rsplit("@", 1)[1]
    mail = Mail(
        time,
        sender,
        recipients,
        subject,
        new_message_id(source, host),
        source.randrange(12_000, 90_000),
        from_ip,
        status,
    )
    evidence.mails.append(mail)
    return mail
