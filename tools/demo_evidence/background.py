"""Fourteen ordinary days at contoso.example, with the benign twins of each attack step."""

from __future__ import annotations

import datetime as dt

from demo_evidence.collection import (
    Evidence,
    add_sign_in,
    at,
    discard_draft,
    receive_mail,
    send_mail,
    usual_client,
    usual_place,
)
from demo_evidence.identities import (
    ADMINISTRATOR,
    COUNSEL,
    HELP_DESK,
    PEOPLE,
    PHONE,
    STAFF,
    Person,
    new_id,
)
from demo_evidence.records import (
    Client,
    Record,
    accessed,
    cmdlet,
    deletion,
    discovery,
    file_access,
    head,
    mailbox,
    message,
    new_message_id,
    service_cmdlet,
)

WORKING_DAYS = (1, 2, 3, 4, 5, 8, 9, 10, 11, 12)
# Three days in ten are worked from home.
HOME_DAYS = frozenset({0, 1, 2})
SUBJECTS = (
    "Minutes of Monday's meeting",
    "Quarterly forecast v3",
    "Travel request Leeds",
    "Purchase order 7714",
    "Question about the new starters",
    "Slides for Thursday",
    "Invoice 20261 from Fabrikam",
    "Lunch on Friday?",
    "Draft contract, comments welcome",
)
SUPPLIERS = (
    ("orders@fabrikam.example", "198.51.100.201"),
    ("news@tailspin.example", "198.51.100.212"),
    ("billing@fabrikam.example", "198.51.100.201"),
)


def add_background(evidence: Evidence) -> None:
    """Add everything that happened without the intruder."""
    for day in WORKING_DAYS:
        _add_working_day(evidence, day)
    _add_calendar_answers(evidence)
    _add_service_noise(evidence)
    _add_housekeeping(evidence)
    _add_administration(evidence)
    _add_legal_search(evidence)


def _inbox(person: Person) -> str:
    """Return the inbox path in the language of the mailbox."""
    return "\\Boîte de réception" if person.is_french else "\\Inbox"


def _add_working_day(evidence: Evidence, day: int) -> None:
    """Add sign-ins, reading, writing and files of a few people on one day."""
    source = evidence.source
    for person in source.sample(STAFF, 3):
        from_home = source.randrange(10) in HOME_DAYS
        client = usual_client(person, day, from_home=from_home)
        start = at(day, source.randrange(7, 10), source.randrange(60), source.randrange(60))
        # A phone keeps its token for weeks: it reads mail without a new sign-in.
        if client.info != PHONE:
            add_sign_in(evidence, start, client, usual_place(person, from_home=from_home))
        for _ in range(2):
            start += dt.timedelta(minutes=source.randrange(5, 120), seconds=source.randrange(60))
            ids = [new_message_id(source) for _ in range(source.randrange(1, 4))]
            evidence.audit.append(
                accessed(source, start, client, [(_inbox(person), ids)])
                if "MSExchangeRPC" not in client.info
                else accessed(source, start, client, [(_inbox(person), [])], kind="Sync")
            )
    _add_letters(evidence, day)
    sender, ip = source.choice(SUPPLIERS)
    recipient = source.choice(STAFF).upn
    receive_mail(
        evidence,
        at(day, 9, source.randrange(60)),
        sender,
        (recipient,),
        source.choice(SUBJECTS),
        ip,
    )
    reader = usual_client(source.choice(STAFF), day)
    evidence.audit.append(
        file_access(source, at(day, 14, source.randrange(60)), "FileAccessed", reader, "Budget.xlsx")
    )


def _add_letters(evidence: Evidence, day: int) -> None:
    """Add two messages a day; each leaves its draft behind as a HardDelete."""
    source = evidence.source
    for person in source.sample(STAFF, 2):
        client = usual_client(person, day)
        time = at(day, source.randrange(10, 16), source.randrange(60), source.randrange(50))
        others = tuple(other.upn for other in source.sample(STAFF, 2) if other != person)
        mail = send_mail(evidence, time, client, others, source.choice(SUBJECTS))
        discard_draft(evidence, time + dt.timedelta(seconds=1), client, mail)


def _add_calendar_answers(evidence: Evidence) -> None:
    """Add answered invitations: an Update, and one second later a move to Deleted Items."""
    source = evidence.source
    for day, person in zip((1, 2, 3, 4, 5, 8, 9), STAFF, strict=False):
        client = usual_client(person, day)
        time = at(day, 11, source.randrange(60), source.randrange(50))
        subject, message_id = "Project stand-up", new_message_id(source)
        calendar = "\\Calendrier" if person.is_french else "\\Calendar"
        update = mailbox(source, time, "Update", 2, client)
        update["Item"] = message(source, calendar, subject, message_id)
        update["ModifiedProperties"] = ["ResponseType", "IsResponseRequested"]
        evidence.audit.append(update)
        evidence.audit.append(
            deletion(
                source,
                time + dt.timedelta(seconds=1),
                "MoveToDeletedItems",
                client,
                _inbox(person),
                [(f"Invitation: {subject}", new_message_id(source))],
                destination="\\Éléments supprimés" if person.is_french else "\\Deleted Items",
            )
        )


def _add_service_noise(evidence: Evidence) -> None:
    """Add the service's own cmdlets, which look like tampering and are not."""
    source = evidence.source
    for day in (2, 4, 6, 9, 11, 13):
        time = at(day, 2, source.randrange(60), source.randrange(60))
        person = source.choice(STAFF)
        evidence.audit.append(
            service_cmdlet(
                source,
                time,
                "Set-Mailbox",
                person.mailbox_guid,
                [
                    ("DomainController", ""),
                    ("Identity", person.mailbox_guid),
                    ("RecoverableItemsQuota", "30 GB (32,212,254,720 bytes)"),
                    ("RecoverableItemsWarningQuota", "20 GB (21,474,836,480 bytes)"),
                ],
            )
        )
        if day in {4, 11}:
            evidence.audit.append(
                service_cmdlet(
                    source,
                    time + dt.timedelta(seconds=40),
                    "Set-AdminAuditLogConfig",
                    "Admin Audit Log Settings",
                    [("Identity", "contoso.example"), ("AdminAuditLogEnabled", "True")],
                )
            )
    for day in (3, 7, 10, 14):
        evidence.audit.append(_retention_run(evidence, at(day, 3, source.randrange(60)), day))


def _retention_run(evidence: Evidence, time: dt.datetime, day: int) -> Record:
    """Build a purge of expired items by the Managed Folder Assistant."""
    source = evidence.source
    owner = STAFF[day % len(STAFF)]
    service = Client(
        owner, "::1", "Client=TBA;Service=MSExchangeMailboxAssistants;Action=ELCAssistant;", "", 4
    )
    expired = [("", new_message_id(source)) for _ in range(6)]
    purges = "\\Recoverable Items\\Purges"
    record = deletion(source, time, "HardDelete", service, purges, expired)
    return record | {"UserId": "S-1-5-18", "UserKey": "S-1-5-18", "UserType": 4}


def _add_housekeeping(evidence: Evidence) -> None:
    """Add users who tidy up: Deleted Items emptied, a contact gone, an assistant at work."""
    source = evidence.source
    tomas, amelie, marcus = (PEOPLE[k] for k in ("tomas.riel", "amelie.roux", "marcus.oyelaran"))
    phone = usual_client(tomas, 5, from_home=True)
    for minute, number in ((12, 14), (13, 9)):
        old = [(f"Tailspin offers, week {20 + n}", new_message_id(source)) for n in range(number)]
        evidence.audit.append(
            deletion(source, at(5, 17, minute), "SoftDelete", phone, "\\Deleted Items", old)
        )
    assistant = Client(amelie, "192.0.2.10", amelie.client, amelie.session(8), 2)
    for day in (2, 8, 11):
        evidence.audit.append(
            deletion(
                source,
                at(day, 9, 30 + day),
                "MoveToDeletedItems",
                assistant,
                "\\Inbox",
                [("Conference newsletter", new_message_id(source))],
                owner=marcus,
                destination="\\Deleted Items",
            )
        )
    helen = usual_client(PEOPLE["helen.brandt"], 4)
    contact = [("Old agency contact", new_message_id(source))]
    evidence.audit.append(deletion(source, at(4, 15, 2), "SoftDelete", helen, "\\Contacts", contact))
    priya = usual_client(PEOPLE["priya.nair"], 3, from_home=True)
    persona = [("", new_message_id(source))]
    evidence.audit.append(
        deletion(
            source,
            at(3, 8, 44),
            "MoveToDeletedItems",
            priya,
            "\\PersonMetadata",
            persona,
            destination="\\Deleted Items",
        )
    )


FILING_RULE = [
    ("Name", "Lettres Tailspin"),
    ("From", "news@tailspin.example"),
    ("MoveToFolder", "Lettres"),
    ("StopProcessingRules", "False"),
]
DISCLAIMER = [
    ("Name", "External sender notice"),
    ("FromScope", "NotInOrganization"),
    ("ApplyHtmlDisclaimerText", "<p>This message came from outside Contoso.</p>"),
    ("ApplyHtmlDisclaimerLocation", "Prepend"),
]
SPAM_RULE = "tomas.riel\\Spam to junk"


def _add_administration(evidence: Evidence) -> None:
    """Add authorised changes: a spam rule removed for a user, a disclaimer, a filing rule."""
    source = evidence.source
    desk, chief = usual_client(HELP_DESK, 4), usual_client(ADMINISTRATOR, 3)
    amelie = usual_client(PEOPLE["amelie.roux"], 2)
    add_sign_in(evidence, at(4, 9, 55), desk, usual_place(HELP_DESK))
    add_sign_in(evidence, at(3, 9, 58), chief, usual_place(ADMINISTRATOR))
    filing = "amelie.roux\\Lettres Tailspin"
    removal = [("Identity", SPAM_RULE), ("Mailbox", "tomas.riel"), ("Confirm", "False")]
    evidence.audit += [
        cmdlet(source, at(2, 10, 17), "New-InboxRule", amelie, filing, FILING_RULE),
        cmdlet(source, at(3, 10, 4), "New-TransportRule", chief, "", DISCLAIMER),
        cmdlet(source, at(4, 10, 9), "Remove-InboxRule", desk, SPAM_RULE, removal),
    ]


def _add_legal_search(evidence: Evidence) -> None:
    """Add counsel's search and export, which nobody hides afterwards."""
    source = evidence.source
    name, query = "HR-2026-031 correspondence", "subject:grievance AND sent>=2026-06-01"
    client = usual_client(COUNSEL, 4)
    add_sign_in(evidence, at(4, 13, 2), client, usual_place(COUNSEL))
    steps = (
        (at(4, 13, 10), "CaseAdded", "HR-2026-031", '-Name "HR-2026-031"'),
        (at(4, 13, 14), "SearchCreated", name, f'-Name "{name}" -Case "HR-2026-031"'),
        (at(4, 13, 15), "SearchStarted", name, f'-Identity "{name}"'),
        (at(4, 13, 52), "SearchPreviewed", f"{name}_Preview", f'-SearchName "{name}" -Preview:$true'),
        (at(5, 9, 20), "SearchExported", f"{name}_Export", f'-SearchName "{name}" -Export:$true'),
        (at(5, 11, 3), "SearchExportDownloaded", f"{name}_Export", ""),
    )
    for time, operation, target, options in steps:
        record = discovery(
            source,
            time,
            operation,
            COUNSEL,
            target,
            options,
            case="HR-2026-031",
            query=query,
            locations="helen.brandt@contoso.example",
        )
        evidence.general.append(record | {"ClientIP": client.ip})
    evidence.general.append(_released_from_quarantine(evidence))


def _released_from_quarantine(evidence: Evidence) -> Record:
    """Build a help-desk release from quarantine (record type 65)."""
    source = evidence.source
    time = at(8, 10, 31)
    record = head(
        source,
        time,
        "QuarantineReleaseMessage",
        65,
        "Quarantine",
        HELP_DESK.upn,
        HELP_DESK.object_id,
        status="Successful",
    )
    return record | {
        "NetworkMessageId": new_id(source),
        "ReleaseTo": "tomas.riel@contoso.example",
        "RequestSource": 0,
        "RequestType": 2,
    }
