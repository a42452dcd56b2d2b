"""What the generator hides in the noise: attack chains to find, damage to report."""

from __future__ import annotations

import datetime as dt
import random
from typing import NamedTuple

from bench import templates
from bench.people import DOMAIN, Worker
from bench.records import Draw, Record, blanks, message_list

CHAINS_PER_MILLION = 40
# Minutes after the export at which each step of a chain happens.
STEPS = (
    (0, "SearchExported"),
    (70, "RemovedSearchExported"),
    (95, "New-InboxRule"),
    *((100 + 2 * number, "HardDelete") for number in range(8)),
)
# How far apart in the file two neighbouring steps may lie at most.
SPREAD = 400
# Nobody in the tenant uses this client.
INTRUDER_CLIENT = (
    "Client=OWA;Action=ViaProxy;Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
)
RECOVERABLE = ("Deletions", "Purges", "Versions")
NOISE = (
    "-- shipper restarted, 3 records dropped --",
    "Traceback (most recent call last):",
    "<html><body>503 Service Unavailable</body></html>",
)
SCALARS = ("42", "null", '"text"', "true")
DAMAGE = {
    "ndjson": ("truncated", "noise", "nul", "invalid_utf8", "scalar", "blank"),
    "purview-csv": ("truncated", "noise", "nul", "invalid_utf8", "scalar", "blank"),
    "search-csv": ("truncated", "noise", "nul", "invalid_utf8", "scalar", "blank"),
    # Whatever breaks the brackets of an array damages its neighbours too, and then
    # no manifest could say which records are lost.
    "array": ("nul", "invalid_utf8", "scalar"),
}


class Step(NamedTuple):
    """One step of a chain at one position of the file."""

    chain: int
    number: int


class Plan(NamedTuple):
    """What goes where: file position to chain step, file position to kind of damage."""

    steps: dict[int, Step]
    damage: dict[int, str]


def chain_count(records: int) -> int:
    """Return how many chains a file of that size holds; none where not even one fits."""
    if records < len(STEPS) * 2:
        return 0
    return max(1, round(records * CHAINS_PER_MILLION / 1_000_000))


def make_plan(records: int, seed: int, damage_share: float, shape: str) -> Plan:
    """Choose the positions of all chains and of all damage, never the same one twice."""
    source = random.Random(f"plan/{seed}")
    spread = max(1, min(SPREAD, records // (len(STEPS) * 4)))
    steps: dict[int, Step] = {}
    for chain in range(chain_count(records)):
        # Neighbours that are already taken push a step on by one, at most once for each.
        room = (spread + chain_count(records)) * len(STEPS)
        position = source.randrange(max(1, records - room))
        # Exports run from new to old, so the last step comes first in the file.
        for number in reversed(range(len(STEPS))):
            position += source.randrange(1, spread + 1)
            while position in steps:
                position += 1
            steps[position] = Step(chain, number)
    number = round(records * damage_share)
    free = [p for p in source.sample(range(records), min(records, number)) if p not in steps]
    return Plan(steps, {position: source.choice(DAMAGE[shape]) for position in sorted(free)})


def intruder_ip(chain: int) -> str:
    """Return the address a chain is run from: outside every habit of the tenant."""
    return f"203.0.113.{1 + chain % 250}"


def actor(chain: int) -> str:
    """Return the name of the account a chain uses; no chain shares it with another."""
    return f"chain{chain:04d}@{DOMAIN}"


def chain_record(draw: Draw, worker: Worker, step: Step, start: dt.datetime) -> Record:
    """Make one step of a chain; start is the UTC time of the export."""
    minutes, operation = STEPS[step.number]
    time = start + dt.timedelta(minutes=minutes)
    values = blanks(draw, worker, 0, time.strftime("%Y-%m-%dT%H:%M:%S"))
    values |= {
        "upn": actor(step.chain),
        "operation": operation,
        "ip": intruder_ip(step.chain),
        "session": f"c4a1c4a1-0000-4000-8000-{step.chain:012x}",
        "client": INTRUDER_CLIENT,
    }
    record_type, template = _chain_step(draw, operation, step, values)
    return Record(values["id"], values["time"], record_type, operation, values["upn"], template % values)


def _chain_step(draw: Draw, operation: str, step: Step, values: dict[str, str]) -> tuple[int, str]:
    """Fill what is particular to a step; return record type and template."""
    name = f"Backup {step.chain}_Export"
    if operation.endswith("SearchExported"):
        values |= {"target": name, "options": f'-Identity \\"{name}\\" -Confirm:$false'}
        return 24, templates.DISCOVERY
    if operation == "New-InboxRule":
        values |= {"target": f"chain{step.chain:04d}\\\\.", "port": "52378", "parameters": INBOX_RULE}
        return 1, templates.CMDLET
    values["path"] = f"\\\\Recoverable Items\\\\{RECOVERABLE[step.number % len(RECOVERABLE)]}"
    number = 10 + draw.below(10)
    values["messages"] = message_list(draw, templates.AFFECTED_MESSAGE, values, number)
    return 3, templates.DELETED


INBOX_RULE = (
    '[{"Name":"Name","Value":"."},{"Name":"SubjectOrBodyContainsWords","Value":"invoice;hacked;phish"},'
    '{"Name":"DeleteMessage","Value":"True"},{"Name":"MarkAsRead","Value":"True"},'
    '{"Name":"StopProcessingRules","Value":"True"}]'
)


def damage_text(draw: Draw, kind: str, text: str) -> bytes:
    """Damage one JSON text; the result is never a valid record.

    The bytes of "nul" and "invalid_utf8" sit inside the value of Workload, so that a
    reader which rescues such a record gets every field that identifies it.
    """
    if kind == "truncated":
        return text[: int(len(text) * (0.3 + 0.6 * draw.source.random()))].encode()
    if kind == "noise":
        return NOISE[draw.below(len(NOISE))].encode()
    if kind == "scalar":
        return SCALARS[draw.below(len(SCALARS))].encode()
    if kind == "blank":
        return b""
    wound = b"\x00" if kind == "nul" else b"\xff\xfe"
    before, mark, after = text.encode().partition(b'"Workload":"')
    return before + mark + wound + after
