"""Shipped YAML files that have been parsed once: parsing them anew takes half a second of every start.

A document is found by the SHA-256 of its bytes, so one that is out of date is never used.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import Any

import msgspec

from mailwitness.content import kept

# Raised when a parsed document would come out differently from the same bytes.
_FORM = 1
# About three times what is shipped; documents of older versions would pile up for ever.
_MOST = 2000


class _Known:
    """What this process knows, and which file of the cache it comes from."""

    def __init__(self) -> None:
        self.documents: dict[str, msgspec.Raw] = {}
        self.used: set[str] = set()
        self.new = False
        self.name = ""


_known = _Known()


def find(content: bytes) -> Any:  # noqa: ANN401 - any YAML document
    """Return the document of a shipped file's bytes, a new object each time; None when it is not known."""
    if not _known.name:
        _known.name = f"documents-{_FORM}-{version('PyYAML')}.msgpack"
        _known.documents = _stored()
    key = hashlib.sha256(content).hexdigest()
    if key not in _known.documents:
        return None
    _known.used.add(key)
    try:
        return msgspec.msgpack.decode(_known.documents[key])
    except msgspec.DecodeError:
        del _known.documents[key]
        return None


def keep(content: bytes, document: Any) -> None:  # noqa: ANN401 - any YAML document
    """Remember a parsed document, unless it would come back as something else (a set, a number of more than 64 bits)."""
    try:
        packed = msgspec.msgpack.encode(document)
    except (TypeError, ValueError, OverflowError):
        return
    if msgspec.msgpack.decode(packed) == document:
        key = hashlib.sha256(content).hexdigest()
        _known.documents[key] = msgspec.Raw(packed)
        _known.used.add(key)
        _known.new = True


def save() -> None:
    """Write what was parsed for the next process."""
    path = kept.place(_known.name) if _known.new else None
    if path is None:
        return
    documents = _stored() | _known.documents
    if len(documents) > _MOST:
        documents = {key: one for key, one in documents.items() if key in _known.used}
    kept.write(path, msgspec.msgpack.encode(documents))
    _known.new = False


def _stored() -> dict[str, msgspec.Raw]:
    path = kept.place(_known.name)
    try:
        return msgspec.msgpack.decode(kept.read(path), type=dict[str, msgspec.Raw]) if path else {}
    except (OSError, msgspec.MsgspecError):
        return {}
