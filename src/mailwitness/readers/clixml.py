r"""PowerShell objects saved by Export-Clixml, as JSON values.

The format (MS-PSRP section 2.2.5, "Serialization")::

    <Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj RefId="0"><TN RefId="0"><T>Deserialized.X</T></TN>
      <ToString>eva\.</ToString><Props><S N="Name">.</S><B N="Enabled">true</B><Nil N="From" /></Props></Obj></Objs>
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mailwitness.readers import exchange_audit, safe_xml, settings_snapshot
from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailwitness.readers.safe_xml import Element

Value = Any  # Any: a JSON value

_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
# References reach back to objects of the same file; of a very large file only to the latest ones.
_MOST_REFERENCES = 50_000
_NUMBERS = frozenset(["By", "SB", "I16", "U16", "I32", "U32", "I64", "U64"])
_COLLECTIONS = frozenset(["LST", "QUE", "STK", "IE"])
_NOT_VALUES = frozenset(["TN", "TNRef", "ToString", "Props", "MS", "DCT", "LST", "QUE", "STK", "IE"])
# What a deserialised object tells about its way here, not about the setting.
_REMOTING = frozenset(
    ["PSComputerName", "RunspaceId", "PSShowComputerName", "PSSourceJobInstanceId", "SerializationData"]
)


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield each object of the file: an entry of an audit log in the shape of `exchange_audit`, else a settings snapshot."""
    decoder = Decoder()
    for found in safe_xml.elements(path, lambda name, depth: depth == 2, b"\n  <Obj "):  # noqa: ARG005, PLR2004 - children of the root
        if isinstance(found, Damage):
            yield found
            continue
        value, kind = decoder.top(found.element)
        prepared = _prepared(value, kind)
        if prepared is None:
            yield Damage(
                found.offset,
                found.length,
                found.line,
                f"an object of a kind that is not known ({kind or found.element.name})",
            )
        else:
            yield RawRecord(prepared, found.offset, found.length, found.line, not found.is_whole)


def _prepared(value: Value, kind: str) -> dict[str, Value] | None:
    if not isinstance(value, dict):
        return None
    if kind == "AdminAuditLogEvent":
        return exchange_audit.prepare_admin(value)
    if kind in {"MailboxAuditLogEvent", "MailboxAuditLogRecord"}:
        return exchange_audit.prepare_mailbox(value)
    return settings_snapshot.prepare(value, kind)


class Decoder:
    """Turn the objects of one file, in order, into JSON values."""

    def __init__(self) -> None:
        """Know no reference yet."""
        self._types: dict[str, str] = {}
        self._objects: OrderedDict[str, Value] = OrderedDict()

    def top(self, element: Element) -> tuple[Value, str]:
        """Return an object of the file's first level and the last part of its type's name."""
        value = self.value(element)
        return value, self._type(element)

    def _type(self, element: Element) -> str:
        names = element.find("TN")
        if names is not None:
            first = names.find("T")
            full = "" if first is None else first.text
            self._types[names.attributes.get("RefId", "")] = full
        else:
            reference = element.find("TNRef")
            full = "" if reference is None else self._types.get(reference.attributes.get("RefId", ""), "")
        return full.rpartition(".")[2].rpartition("+")[2]

    def value(self, element: Element) -> Value:  # noqa: PLR0911 - one line for each case
        """Return what an element stands for."""
        if element.name == "Obj":
            return self._object(element)
        if element.name == "Ref":
            return self._objects.get(element.attributes.get("RefId", ""), "")
        if element.name == "Nil":
            return None
        if element.name == "B":
            return element.text.strip().lower() == "true"
        if element.name in _NUMBERS:
            try:
                return int(element.text)
            except ValueError:
                return element.text
        if element.name == "BA":
            # Serialised .NET data: long, and of no use without the server's libraries.
            return ""
        return unescape(element.text)

    def _object(self, element: Element) -> Value:  # noqa: C901 - one line for each case
        self._type(element)
        result: Value = None
        members: dict[str, Value] = {}
        for child in element.children:
            if child.name in {"Props", "MS"}:
                for member in child.children:
                    name = unescape(member.attributes.get("N", ""))
                    if name and name not in _REMOTING:
                        members.setdefault(name, self.value(member))
            elif child.name in _COLLECTIONS:
                result = [self.value(inner) for inner in child.children]
            elif child.name == "DCT":
                result = self._dictionary(child)
            elif child.name not in _NOT_VALUES:
                result = self.value(child)
        if result is None:
            shown = element.find("ToString")
            result = members or (unescape(shown.text) if shown is not None else "")
        self._keep(element.attributes.get("RefId", ""), result)
        return result

    def _dictionary(self, element: Element) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for entry in element.children:
            pair = {inner.attributes.get("N", ""): inner for inner in entry.children}
            if "Key" in pair:
                found[str(self.value(pair["Key"]))] = self.value(pair["Value"]) if "Value" in pair else None
        return found

    def _keep(self, reference: str, value: Value) -> None:
        if not reference:
            return
        # A reference inside a value would let a few lines unfold to gigabytes: large values are kept by name only.
        self._objects[reference] = (
            value if not isinstance(value, (dict, list)) or len(value) == 0 else _short(value)
        )
        if len(self._objects) > _MOST_REFERENCES:
            self._objects.popitem(last=False)


def _short(value: Value) -> Value:
    """Return a flat form of a value that others refer to: its plain members only."""
    if isinstance(value, list):
        return [item for item in value[:100] if not isinstance(item, (dict, list))]
    return {key: item for key, item in list(value.items())[:100] if not isinstance(item, (dict, list))}


def unescape(value: str) -> str:
    """Undo CLIXML's own escapes, such as ``_x000D_`` for a carriage return."""
    if "_x" not in value:
        return value
    # Surrogate pairs come as two escapes; a half one cannot be written as UTF-8.
    decoded = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)
    return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
