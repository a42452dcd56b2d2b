"""The reader of Postfix's main.cf and of the tables of its header and body checks.

``main.cf`` gives a record for each parameter that decides what becomes of mail; a table is one record with its text.
Sources: postconf(5), header_checks(5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailwitness.readers import setting_file
from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EACH_PLACE_COUNTS = True
_PARAMETER = re.compile(r"([a-z][a-z0-9_]*)\s*=\s*(.*)")
_TABLE_LINE = re.compile(r"(?:if\s+)?!?/")
# Parameters by which mail is thrown away, altered, copied, redirected or kept from a mailbox.
_TOLD = re.compile(
    r"(?:(?:smtp|mime|nested|milter|lmtp)?_?(?:header|body)_checks|(?:mime|nested)_header_checks|milter_(?:mime|nested)?_?(?:header|body)_checks|smtpd_milters|non_smtpd_milters"
    r"|content_filter|always_bcc|(?:sender|recipient)_bcc_maps|virtual_alias_maps|alias_maps|transport_maps|(?:recipient_|sender_)?canonical_maps"
    r"|mailbox_command|mailbox_transport|mailbox_command_maps|forward_path|default_transport|relocated_maps|soft_bounce|notify_classes|virtual_transport|local_transport"
    r"|smtpd_(?:client|helo|sender|recipient|data|end_of_data|relay)_restrictions|receive_override_options|maillog_file|syslog_facility)"
)


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Yield the settings of a file as settings snapshots.

    main.cf: ``header_checks = regexp:/etc/postfix/header_checks``; a table: ``/^Subject: .*alert/ DISCARD``.
    """
    text = setting_file.read(path)
    if isinstance(text, Damage):
        yield text
        return
    found = setting_file.place(path, name)
    size = path.stat().st_size
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if _TABLE_LINE.match(first):
        found["Settings"]["Text"] = text
        yield RawRecord({"Kind": "PostfixChecks", **found}, 0, size, 1)
        return
    for parameter, value, number in _parameters(text):
        settings = {**found["Settings"], "Parameter": parameter, "Value": value}
        yield RawRecord(
            {"Kind": "PostfixSetting", **found, "Name": parameter, "Settings": settings}, 0, size, number
        )


def _parameters(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield each telling parameter with its value and line; of a parameter set twice the last counts (postconf(5))."""
    found: dict[str, tuple[str, int]] = {}
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _PARAMETER.match(line)
        if line[0] in " \t" and name:
            value, first = found[name]
            found[name] = (f"{value} {line.strip()}", first)
        elif match:
            name = match[1]
            found[name] = (match[2].strip(), number)
    yield from ((name, value, number) for name, (value, number) in found.items() if _TOLD.fullmatch(name))
