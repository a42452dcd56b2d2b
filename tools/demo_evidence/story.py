"""The intrusion: a phished mailbox, and what was done to hide it, step by step."""

from __future__ import annotations

import datetime as dt

from demo_evidence.collection import (
    FIREFOX,
    Evidence,
    Place,
    add_sign_in,
    at,
    receive_mail,
    send_mail,
    usual_client,
    usual_place,
)
from demo_evidence.identities import (
    ADMINISTRATOR,
    DOMAIN,
    HELP_DESK,
    INTRUDER_IP,
    INTRUDER_OWA,
    PEOPLE,
    PHISHER,
    PHISHER_IP,
    STAFF,
    VICTIM,
    Person,
    new_id,
)
from demo_evidence.records import (
    Client,
    Mail,
    Record,
    accessed,
    cmdlet,
    deletion,
    directory_change,
    discovery,
    head,
    new_message_id,
)

RISKY = Place(
    INTRUDER_IP,
    "NL",
    "Amsterdam",
    FIREFOX,
    risk="high",
    risk_events=("unfamiliarFeatures", "unlikelyTravel"),
)
LURE = "Contoso payroll portal: please confirm your details"
RECOVERABLE = "\\Recoverable Items"
# The longest read is the one that a shipper with a size limit would cut.
CUT_READ = 6


def add_intrusion(evidence: Evidence) -> None:
    """Add the attack in the order it happened, then the responders' first steps."""
    first = _intruder(VICTIM, 9)
    second = _intruder(VICTIM, 10)
    admin = _intruder(ADMINISTRATOR, 10)
    _phish_and_enter(evidence, first)
    _read_the_mailbox(evidence, first)
    _hide_the_replies(evidence, first)
    lures = _phish_the_colleagues(evidence, second)
    _empty_sent_items(evidence, second, lures)
    _abuse_transport_rule(evidence, admin)
    _export_and_clear(evidence, admin)
    _loosen_and_purge(evidence, _intruder(ADMINISTRATOR, 12), _intruder(VICTIM, 12), lures)
    _respond(evidence)


def _intruder(person: Person, day: int) -> Client:
    """Return the intruder's client in a person's name: another session than the owner's."""
    return Client(person, INTRUDER_IP, INTRUDER_OWA, person.session(day + 100))


def _phish_and_enter(evidence: Evidence, client: Client) -> None:
    """Add the phish, the risky sign-in, the new MFA method and the notice made to vanish."""
    source = evidence.source
    targets = (VICTIM.upn, PEOPLE["priya.nair"].upn)
    subject = "Overdue statement 44871 - please review today"
    receive_mail(evidence, at(9, 8, 12, 44), PHISHER, targets, subject, PHISHER_IP)
    add_sign_in(evidence, at(9, 8, 39, 51), client, RISKY, error=50126)
    add_sign_in(evidence, at(9, 8, 41, 7), client, RISKY)
    method = '[{"MethodType":6,"Default":%s}]'
    change = ("StrongAuthenticationMethod", method % "true", "[]")
    phone = (
        "StrongAuthenticationPhoneAppDetail",
        '[{"DeviceName":"SM-G990B","PhoneAppVersion":"6.2410.7"}]',
        "[]",
    )
    evidence.audit.append(
        directory_change(source, at(9, 8, 44, 12), "Update user.", VICTIM, VICTIM, [change, phone])
        | {"ClientIP": client.ip, "ActorIpAddress": client.ip}
    )
    notice = receive_mail(
        evidence,
        at(9, 8, 45, 3),
        f"account-security@notices.{DOMAIN}",
        (VICTIM.upn,),
        "New sign-in method added to your account",
        "192.0.2.25",
    )
    vanished = [(notice.subject, notice.message_id)]
    for time, operation, path in (
        (at(9, 8, 46, 20), "SoftDelete", "\\Inbox"),
        (at(9, 8, 46, 58), "HardDelete", f"{RECOVERABLE}\\Deletions"),
    ):
        evidence.audit.append(deletion(source, time, operation, client, path, vanished))


def _read_the_mailbox(evidence: Evidence, client: Client) -> None:
    """Add ten aggregated reads in half an hour; the last of them is cut in the export."""
    source = evidence.source
    time = at(9, 8, 51)
    for number in range(10):
        time += dt.timedelta(minutes=source.randrange(2, 4), seconds=source.randrange(60))
        ids = [new_message_id(source) for _ in range(14 if number == CUT_READ else 5)]
        path = "\\Sent Items" if number % 3 == 0 else "\\Inbox"
        evidence.audit.append(accessed(source, time, client, [(path, ids)]))
    cut = evidence.audit[-10 + CUT_READ]
    evidence.cut_id = str(cut["Id"])


def _hide_the_replies(evidence: Evidence, client: Client) -> None:
    """Add the inbox rule named "." and its later change from moving to deleting."""
    source = evidence.source
    words = ("SubjectOrBodyContainsWords", "invoice;payment;remittance;bank details")
    evidence.audit += [
        cmdlet(
            source,
            at(9, 9, 26, 31),
            "New-InboxRule",
            client,
            "dana.whitfield\\.",
            [
                ("AlwaysDeleteOutlookRulesBlob", "False"),
                ("Force", "False"),
                ("MoveToFolder", "RSS Subscriptions"),
                ("Name", "."),
                words,
                ("MarkAsRead", "True"),
                ("StopProcessingRules", "True"),
            ],
        ),
        cmdlet(
            source,
            at(9, 9, 41, 5),
            "Set-InboxRule",
            client,
            "dana.whitfield\\.",
            [
                ("Identity", "dana.whitfield\\."),
                words,
                ("DeleteMessage", "True"),
                ("MarkAsRead", "True"),
                ("StopProcessingRules", "True"),
            ],
        ),
    ]


def _phish_the_colleagues(evidence: Evidence, client: Client) -> list[Mail]:
    """Add 24 lures within 18 minutes from the phished mailbox; return them."""
    add_sign_in(evidence, at(10, 7, 24, 40), client, RISKY)
    source = evidence.source
    colleagues = [person.upn for person in (*STAFF, ADMINISTRATOR) if person != VICTIM]
    partners = [f"team{number}@fabrikam.example" for number in range(1, 17)]
    time = at(10, 7, 31, 2)
    lures = []
    for address in colleagues + partners:
        lures.append(send_mail(evidence, time, client, (address,), LURE))
        time += dt.timedelta(seconds=source.randrange(25, 60))
    return lures


def _empty_sent_items(evidence: Evidence, client: Client, lures: list[Mail]) -> None:
    """Add the purge of the sent lures and of the one reply that asked about them."""
    source = evidence.source
    pairs = [(mail.subject, mail.message_id) for mail in lures]
    for number in range(3):
        evidence.audit.append(
            deletion(
                source,
                at(10, 7, 55, 10 + number),
                "HardDelete",
                client,
                "\\Sent Items",
                pairs[number::3],
            )
        )
    jonas = usual_client(PEOPLE["jonas.lindqvist"], 10)
    question = send_mail(evidence, at(10, 8, 2, 15), jonas, (VICTIM.upn,), f"RE: {LURE} - did you send this?")
    reply = [(question.subject, question.message_id)]
    evidence.audit.append(deletion(source, at(10, 8, 3, 41), "HardDelete", client, "\\Inbox", reply))


def _abuse_transport_rule(evidence: Evidence, admin: Client) -> None:
    """Add the header-stripping transport rule, the campaign under it, and its removal."""
    source = evidence.source
    add_sign_in(evidence, at(10, 21, 4, 18), admin, RISKY)
    evidence.audit.append(
        cmdlet(
            source,
            at(10, 21, 11, 47),
            "New-TransportRule",
            admin,
            "",
            [
                ("Name", "Mail hygiene 2"),
                ("SenderDomainIs", "woodgrove-billing.example"),
                ("RemoveHeader", "X-MS-Exchange-Organization-SCL"),
                ("SetSCL", "-1"),
                ("SetAuditSeverity", "DoNotAudit"),
                ("Priority", "0"),
            ],
        )
    )
    for minute, person in enumerate(STAFF):
        subject = "Remittance advice 44902"
        time = at(10, 22, 30 + minute, 9)
        receive_mail(evidence, time, PHISHER, (person.upn,), subject, PHISHER_IP)
    evidence.audit.append(
        cmdlet(
            source,
            at(11, 2, 40, 22),
            "Remove-TransportRule",
            admin,
            "Mail hygiene 2",
            [("Identity", "Mail hygiene 2"), ("Confirm", "False")],
        )
    )


def _export_and_clear(evidence: Evidence, admin: Client) -> None:
    """Add a content search of two mailboxes, its export, and the removal of both."""
    source = evidence.source
    name = "Backup check"
    action = f"{name}_Export"
    steps = (
        (at(11, 21, 30, 5), "SearchCreated", name, f'-Name "{name}" -ExchangeLocation "{_boxes()}"'),
        (at(11, 21, 31, 2), "SearchStarted", name, f'-Identity "{name}"'),
        (
            at(11, 21, 58, 44),
            "SearchExported",
            action,
            f'-SearchName "{name}" -Export:$true -Format FxStream',
        ),
        (at(11, 22, 40, 13), "SearchExportDownloaded", action, ""),
        (at(11, 23, 6, 37), "RemovedSearchExported", action, f'-Identity "{action}" -Confirm:$false'),
        (at(11, 23, 7, 20), "SearchRemoved", name, f'-Identity "{name}" -Confirm:$false'),
    )
    for time, operation, target, options in steps:
        record = discovery(
            source,
            time,
            operation,
            ADMINISTRATOR,
            target,
            options,
            query="kind:email AND (contract OR invoice OR iban)",
            locations=_boxes(),
        )
        evidence.general.append(record | {"ClientIP": admin.ip})
    evidence.general.append(_export_alert(evidence, at(11, 22, 15, 50), name))


def _boxes() -> str:
    """Return the searched mailboxes as the record lists them."""
    return f"{VICTIM.upn};{PEOPLE['marcus.oyelaran'].upn}"


def _export_alert(evidence: Evidence, time: dt.datetime, name: str) -> Record:
    """Build the alert that Microsoft 365 raised about the export (record type 40)."""
    source = evidence.source
    record = head(
        source,
        time,
        "AlertTriggered",
        40,
        "SecurityComplianceCenter",
        "SecurityComplianceAlerts",
        "SecurityComplianceAlerts",
        user_type=4,
        status="",
    )
    return record | {
        "ObjectId": name,
        "AlertId": new_id(source),
        "AlertLinks": [],
        "AlertType": "System",
        "Category": "ThreatManagement",
        "Comments": "New alert",
        "Data": f'{{"etype":"Activity","op":"SearchExported","sn":"{name}"}}',
        "Name": "eDiscovery search started or exported",
        "Severity": "Medium",
        "Source": "Office 365 Security & Compliance",
        "Status": "Active",
    }


def _loosen_and_purge(evidence: Evidence, admin: Client, client: Client, lures: list[Mail]) -> None:
    """Add audit bypass, recovery off, the purge of Recoverable Items, and both put back."""
    source = evidence.source
    add_sign_in(evidence, at(12, 1, 6, 3), admin, RISKY)
    victim = ("Identity", "dana.whitfield")
    bypass = ("Identity", "nathan.rowe")
    name, box = "Set-MailboxAuditBypassAssociation", "dana.whitfield"
    steps = (
        (at(12, 1, 10, 9), name, "nathan.rowe", [bypass, ("AuditBypassEnabled", "True")]),
        (
            at(12, 1, 14, 33),
            "Set-Mailbox",
            box,
            [victim, ("SingleItemRecoveryEnabled", "False"), ("RetainDeletedItemsFor", "0")],
        ),
        (
            at(12, 1, 40, 51),
            "Set-Mailbox",
            box,
            [victim, ("SingleItemRecoveryEnabled", "True"), ("RetainDeletedItemsFor", "14.00:00:00")],
        ),
        (at(12, 1, 42, 8), name, "nathan.rowe", [bypass, ("AuditBypassEnabled", "False")]),
    )
    for time, operation, target, parameters in steps:
        evidence.audit.append(cmdlet(source, time, operation, admin, target, parameters))
    add_sign_in(evidence, at(12, 1, 19, 26), client, RISKY)
    pairs = [(mail.subject, mail.message_id) for mail in lures]
    for number, leaf in enumerate(("Deletions", "Purges", "Versions")):
        evidence.audit.append(
            deletion(
                source,
                at(12, 1, 22 + number, 14),
                "HardDelete",
                client,
                f"{RECOVERABLE}\\{leaf}",
                pairs[number * 6 : number * 6 + 6],
            )
        )


def _respond(evidence: Evidence) -> None:
    """Add what the help desk did on the last morning: new password, inbox rule off."""
    source = evidence.source
    desk = usual_client(HELP_DESK, 12)
    add_sign_in(evidence, at(12, 8, 20, 11), desk, usual_place(HELP_DESK))
    evidence.audit += [
        directory_change(source, at(12, 8, 31, 40), "Reset user password.", HELP_DESK, VICTIM, []),
        cmdlet(
            source,
            at(12, 9, 2, 18),
            "Disable-InboxRule",
            desk,
            "dana.whitfield\\.",
            [("Identity", "dana.whitfield\\."), ("Mailbox", "dana.whitfield")],
        ),
    ]
