"""The command that compares: reads the witness, compares, writes evidence and proofs, and says it in words."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailwitness.errors import WitnessError
from mailwitness.posture.root import Root
from mailwitness.report.text import visible
from mailwitness.settings import clock
from mailwitness.witness import comparison_file, proofs, targets
from mailwitness.witness import config as configuration
from mailwitness.witness.client import Client
from mailwitness.witness.compare import Comparison, Difference, iso
from mailwitness.witness.held import Held, LocalSource, RemoteSource
from mailwitness.witness.retention import Kept, counted, explain, of_journal, of_log

if TYPE_CHECKING:
    from mailwitness.witness.held import Source

_CLEAR, _FOUND, _NOT_EVALUATED = 0, 1, 2
# All differences are in the file; a screen shows the first ones of each path.
_SHOWN = 40
_SIGNS = {"Missing": "-", "Altered": "~", "Inserted": "+", "Contradicted": "!", "Moved": ">"}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared with what; see the command ``witness compare``."""

    targets: tuple[Path, ...]
    client: str
    reader: Path | None
    store: Path | None
    key: str
    named: str
    out: Path
    proofs: Path | None
    settings_root: Path | None = None


def run(request: Request, now: str | None) -> int:
    """Compare, write the files, print the result; returns the exit code."""
    moment = clock(now)
    if request.store is not None:
        return _compare(LocalSource(request.store, request.key), request, moment)
    settings = configuration.read(request.reader or Path(), configuration.Reader)
    with Client(settings) as client:
        return _compare(RemoteSource(client, request.key or settings.pinned), request, moment)


def _compare(source: Source, request: Request, now: dt.datetime) -> int:
    held = Held(source, request.client)
    if request.client not in held.clients:
        known = ", ".join(sorted(held.clients))
        raise WitnessError(
            f"it holds nothing of client {request.client}", place="witness", remedy=f"It knows: {known}."
        )
    found = [
        comparison
        for target in request.targets
        for comparison in targets.compare(held, target, named=request.named)
    ]
    now_us = int(now.timestamp() * 1_000_000)
    found = [_explained(comparison, request, now_us) for comparison in found]
    written = "".join(comparison_file.lines(found, request.client, source.head, now_us=now_us))
    request.out.write_text(written, encoding="utf-8")
    numbers = [d.number for comparison in found for d in comparison.differences]
    if request.proofs is not None:
        request.proofs.write_bytes(msgspec.json.format(msgspec.json.encode(proofs.make(source, numbers))))
    _show(found, held, source)
    if not any(comparison.held for comparison in found):
        return _NOT_EVALUATED
    return _FOUND if any(one.cause != "expired" for each in found for one in each.differences) else _CLEAR


def _explained(comparison: Comparison, request: Request, now_us: int) -> Comparison:
    """Tell apart what was cleared from what the host's own settings of rotation and expiry took."""
    things = {one.thing for one in comparison.differences}
    if "Message" in things or not things:
        return comparison
    if request.settings_root is None:
        kept = Kept(days=None, said="the settings of the host were not given")
    elif "JournalEntry" in things:
        kept = of_journal(
            _texts(request.settings_root, "/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d")
        )
    else:
        kept = of_log(
            comparison.path, _texts(request.settings_root, "/etc/logrotate.conf", "/etc/logrotate.d")
        )
    return explain(comparison, kept, oldest_left=comparison.oldest_left, now_us=now_us)


def _texts(path: Path, main: str, folder: str) -> dict[str, str]:
    root = Root(path)
    names = [main, *(f"{folder}/{name}" for name in root.names(folder))]
    return {name: root.text(name) or "" for name in names}


def _show(found: list[Comparison], held: Held, source: Source) -> None:
    head = source.head
    print(f"witness: {head.size} records under the head signed {iso(head.time_us)} by key {head.key}")
    for comparison in found:
        counts: dict[str, int] = {}
        for difference in comparison.differences:
            counts[difference.what.lower()] = counts.get(difference.what.lower(), 0) + 1
        words = ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing differs"
        print(
            f"\n{visible(comparison.path, 200)}: {comparison.held} held, {comparison.same} the same, "
            f"{comparison.new} not yet at the witness; {words}"
        )
        causes = counted(comparison.differences)
        if causes:
            print(f"  of what is missing: {causes} ({visible(comparison.kept, 200)})")
        for difference in comparison.differences[:_SHOWN]:
            print(_line(difference))
        if len(comparison.differences) > _SHOWN:
            print(f"  ... and {len(comparison.differences) - _SHOWN} more in the result file")
    for number, seen in held.happenings:
        if seen.kind not in {"started", "message_gone"}:
            facts = ", ".join(f"{name} {value}" for name, value in sorted(seen.facts.items()))
            print(
                f"\nnoticed at {iso(seen.seen_us)}: {seen.kind} {visible(seen.path, 200)} ({facts}; record {number})"
            )


def _line(difference: Difference) -> str:
    sign = _SIGNS[difference.what]
    when = f"received {iso(difference.received_us)}" if difference.received_us else "never received"
    place = f"record {difference.number}" if difference.number >= 0 else "no record"
    if difference.thing == "Message":
        named = f"{difference.place} {difference.message_id} {difference.subject}"
        then = f" -> {difference.after}" if difference.after else ""
        return f"  {sign} {visible(named, 200)}{visible(then, 200)} ({when}; {place})"
    shown = difference.before or difference.after
    then = f"\n    now: {visible(difference.after, 200)}" if difference.before and difference.after else ""
    return f"  {sign} {visible(shown, 200)} ({when}; {place}){then}"
