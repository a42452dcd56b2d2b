"""Ordinary audit records: one small maker for each kind of record in the mix."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from bench import templates
from bench.people import Worker, guid

Blanks = dict[str, str]
SUBJECTS = (
    "Minutes of the weekly meeting",
    "RE: Quarterly forecast",
    "Purchase order 7714",
    "FW: Travel request",
    "Invoice 20261 from Fabrikam",
    "Slides for Thursday",
    "Question about the contract",
    "Project stand-up",
)
FILES = ("Budget 2026.docx", "Offer Fabrikam.docx", "Minutes.docx", "Plan Q4.docx", "Handbook.docx")


class Record(NamedTuple):
    """One rendered record and the outer columns that CSV exports repeat."""

    id: str
    time: str
    record_type: int
    operation: str
    user: str
    text: str


class Draw:
    """A seeded source with the few draws the makers need; one for each block."""

    def __init__(self, seed: str) -> None:
        self.source = random.Random(seed)

    def below(self, limit: int) -> int:
        """Draw a number from 0 to limit - 1, quicker than randrange."""
        return int(self.source.random() * limit)

    def guid(self) -> str:
        """Draw a GUID."""
        return guid(self.source.getrandbits(128))

    def hexadecimal(self, bits: int) -> str:
        """Draw an opaque identifier."""
        return f"{self.source.getrandbits(bits):0{bits // 4}x}"


def blanks(draw: Draw, worker: Worker, day: int, time: str) -> Blanks:
    """Fill the blanks that every record has.

    The session is the person's and the day's, the address is the office on most
    days and home on others: habits, so that a new address means something.
    """
    home = (day * 7 + len(worker.fixed["team"])) % 5 == 0
    session = f"{worker.fixed['object_id'][:24]}{day:012x}"
    return worker.fixed | {
        "time": time,
        "id": draw.guid(),
        "ip": worker.addresses[home],
        "session": session,
        "token": draw.hexadecimal(88),
        "token_id": draw.guid(),
        "request": draw.guid(),
        "size": str(4_000 + draw.below(200_000)),
        "count": str(1 + draw.below(9)),
    }


def message_list(draw: Draw, template: str, values: Blanks, number: int) -> str:
    """Render a JSON list of messages that share the other blanks."""
    parts = []
    for _ in range(number):
        values["message_id"] = draw.hexadecimal(256)
        values["subject"] = SUBJECTS[draw.below(len(SUBJECTS))]
        parts.append(template % values)
    return f"[{','.join(parts)}]"


def accessed(draw: Draw, worker: Worker, values: Blanks) -> tuple[int, str, str]:
    """Render MailItemsAccessed: Bind with its messages, or Sync of a folder."""
    is_sync = worker.fixed["client"] == "Client=MSExchangeRPC"
    number = 0 if is_sync else 1 + draw.below(3)
    values["path"] = worker.folders[draw.below(10) == 0]
    values["access"] = "Sync" if is_sync else "Bind"
    values["count"] = str(number or 1)
    values["messages"] = message_list(draw, templates.READ_MESSAGE, values, number)
    return 50, "MailItemsAccessed", templates.ACCESSED


def file_record(draw: Draw, worker: Worker, values: Blanks) -> tuple[int, str, str]:
    """Render a SharePoint or OneDrive file record."""
    del worker
    values["workload"] = ("SharePoint", "OneDrive")[draw.below(3) == 0]
    values["file"] = FILES[draw.below(len(FILES))]
    names = ("FileAccessed", "FileAccessed", "FileModified", "FileDownloaded", "FilePreviewed")
    return 6, names[draw.below(5)], templates.FILE


def sign_in(draw: Draw, worker: Worker, values: Blanks) -> tuple[int, str, str]:
    """Render a sign-in; one in twenty fails."""
    del worker
    failed = draw.below(20) == 0
    values["result"] = "Failed" if failed else "Success"
    values["error"] = "50126" if failed else "0"
    return 15, "UserLoginFailed" if failed else "UserLoggedIn", templates.SIGN_IN


def item(draw: Draw, worker: Worker, values: Blanks) -> tuple[int, str, str]:
    """Render Send, Create or Update."""
    values["message_id"] = draw.hexadecimal(256)
    values["subject"] = SUBJECTS[draw.below(len(SUBJECTS))]
    values["attachment"] = "" if draw.below(3) else "Offer.pdf (48210b)"
    kind = draw.below(3)
    values["path"] = worker.folders[3] if kind < 2 else "\\\\Calendar"  # noqa: PLR2004
    return 2, ("Send", "Create", "Update")[kind], templates.UPDATED if kind else templates.SENT


def item_group(draw: Draw, worker: Worker, values: Blanks) -> tuple[int, str, str]:
    """Render an ordinary deletion or move: drafts gone, invitations answered, tidying."""
    kind = draw.below(4)
    path = (worker.folders[3], worker.folders[0], worker.folders[2], worker.folders[0])[kind]
    values["path"] = path
    values["destination"] = worker.folders[2] if kind == 1 else "\\\\Projects"
    number = 1 if kind < 2 else 1 + draw.below(3)  # noqa: PLR2004
    values["messages"] = message_list(draw, templates.AFFECTED_MESSAGE, values, number)
    operation = ("HardDelete", "MoveToDeletedItems", "SoftDelete", "Move")[kind]
    return 3, operation, templates.MOVED if kind % 2 else templates.DELETED


def teams(draw: Draw, worker: Worker, values: Blanks) -> tuple[int, str, str]:
    """Render a Teams record."""
    del worker, values
    return 25, ("MessageSent", "ChatRetrieved", "ReactedToMessage")[draw.below(3)], templates.TEAMS


def administration(draw: Draw, worker: Worker, values: Blanks) -> tuple[int, str, str]:
    """Render an Exchange admin record: nearly all of them are the service's own."""
    if draw.below(50) == 0:
        values["target"] = worker.fixed["upn"].split("@")[0]
        values["port"] = str(20_000 + draw.below(40_000))
        values["parameters"] = '[{"Name":"Identity","Value":"%s"},%s]' % (  # noqa: UP031 - JSON
            values["target"],
            '{"Name":"AutoReplyState","Value":"Scheduled"}',
        )
        return 1, "Set-MailboxAutoReplyConfiguration", templates.CMDLET
    values["parameter"], values["value"] = (
        ("RecoverableItemsQuota", "30 GB (32,212,254,720 bytes)"),
        ("MaxSafeSenders", "1024"),
        ("AdminAuditLogEnabled", "True"),
    )[kind := draw.below(3)]
    names = ("Set-Mailbox", "Set-MailboxPlan", "Set-AdminAuditLogConfig")
    return 1, names[kind], templates.SERVICE_CMDLET


def directory(draw: Draw, worker: Worker, values: Blanks) -> tuple[int, str, str]:
    """Render an Entra directory record."""
    del worker, values
    return 8, ("Update user.", "Change user license.")[draw.below(2)], templates.DIRECTORY


Maker = Callable[[Draw, Worker, Blanks], tuple[int, str, str]]
# Shares of a real export, in hundredths (see the benchmark's README).
MIX: tuple[tuple[Maker, int], ...] = (
    (accessed, 34),
    (file_record, 24),
    (sign_in, 13),
    (item, 9),
    (item_group, 7),
    (teams, 6),
    (administration, 5),
    (directory, 2),
)
SERVICE = "NT AUTHORITY\\SYSTEM (Microsoft.Exchange.ServiceHost)"


def ordinary(draw: Draw, maker: Maker, worker: Worker, day: int, time: str) -> Record:
    """Make one record of the background."""
    values = blanks(draw, worker, day, time)
    record_type, operation, template = maker(draw, worker, values)
    values["operation"] = operation
    user = SERVICE if template is templates.SERVICE_CMDLET else values["upn"]
    return Record(values["id"], time, record_type, operation, user, template % values)
