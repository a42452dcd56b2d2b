"""What can be compared: a log, a Maildir, an mbox, an export of the journal, or the exhibits of a case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness.errors import ConfigError
from mailwitness.witness.compare import Comparison, compare_journal, compare_log, compare_mail, host_files

if TYPE_CHECKING:
    from mailwitness.witness.held import Held


def compare(held: Held, target: Path, *, named: str = "") -> list[Comparison]:
    """Compare one target with what the witness holds.

    Args:
        held: what the witness holds of the client.
        target: log, Maildir, mbox, export of a journal or folder of a case, on the host or as a copy.
        named: path of the original as the shipper named it; empty takes that of the target.

    Raises:
        ConfigError: the witness holds nothing of that name.
    """
    if (target / "case.json").is_file():
        return _case(held, target)
    name = named or str(target.absolute())
    if name in held.lines:
        return [compare_log(held, name, host_files(target))]
    if name in held.entries:
        return [compare_journal(held, name, target)]
    if any(folder == name or folder.startswith(f"{name.rstrip('/')}/.") for folder in held.messages):
        return compare_mail(held, target, name)
    known = sorted({*held.lines, *held.entries, *held.messages})
    raise ConfigError(
        f"the witness holds nothing of client {held.client} under this name",
        place=name,
        remedy=f"Name the original with --named; it holds: {', '.join(known[:20]) or 'nothing'}.",
    )


def _case(held: Held, case: Path) -> list[Comparison]:
    """Compare the logs and mbox files among a case's exhibits with the witness's of the same name.

    A witness's log that matches several exhibits is compared with those of the longest common end of the path.
    """
    described = json.loads((case / "case.json").read_text(encoding="utf-8"))
    exhibits = {item["path"]: Path(item["location"]) for item in described.get("exhibits", [])}
    found: list[Comparison] = []
    for name in sorted(held.lines):
        match = _best(name, exhibits)
        if match is not None:
            found.append(compare_log(held, name, host_files(match)))
    for name in sorted(held.messages):
        match = _best(name, exhibits)
        if match is not None:
            found += compare_mail(held, match, name)
    if not found:
        raise ConfigError(
            "no exhibit of the case has the name of a log or mbox that the witness holds",
            place=str(case),
            remedy="Compare the log or Maildir itself.",
        )
    return found


def _best(name: str, exhibits: dict[str, Path]) -> Path | None:
    """Return the exhibit whose path shares the longest end with ``name``, at least the file's name."""
    wanted = Path(name).parts[::-1]
    best, length = None, 0
    for path, location in sorted(exhibits.items()):
        parts = Path(path).parts[::-1]
        common = next((i for i, (a, b) in enumerate(zip(wanted, parts, strict=False)) if a != b), None)
        shared = min(len(wanted), len(parts)) if common is None else common
        if shared > length:
            best, length = location, shared
    return best
