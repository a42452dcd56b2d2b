"""Text that is no log: papers that lie beside logs, and transcripts that cannot be evidence of when something happened."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import msgspec

# Papers are small; a larger text is looked at by a person.
_LARGEST_BYTES = 1024 * 1024
# A paper says by its name that it is one; its content then has to agree.
_NAMED = re.compile(
    r"(?i)(?:readme|licen[cs]e|copying|copyright|notice|authors|contributors|contributing|changelog|changes|source|sources)"
    r"(?:[-_.][a-z0-9]{1,12})?(?:\.(?:txt|md|markdown|rst|adoc))?|[^/]{1,80}\.(?:md|markdown|rst|adoc)"
)
_CLOCK = rb"\d{1,2}:\d\d:\d\d"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
# What no paper has and every log has: a time of day, a date or number at the start of a line, an object, fields, a mail header.
_LOG_LINE = re.compile(
    rb"(?im)" + _CLOCK + rb"|^[^\w\n]{0,8}(?:\d{4}[-/.]\d\d[-/.]\d\d|\d\d[-/.]\d\d[-/.]\d{4}|\d{9,13}\b|\d{1,2}[ /-]" + _MONTH
    + rb"|" + _MONTH + rb"[ ]+\d{1,2}\b|<\d{1,3}>)"
    rb"|^\s*[\[{]\s*[\"{\[]|^[^\n]*\b\w+=\S*[^\n]*\b\w+=|^(?:from|to|cc|date|received|message-id|return-path|delivered-to):? [^\n]*[@\d]"
    rb"|^[^\n]*\b(?:\d{1,3}\.){3}\d{1,3}\b[^\n]*\d|^#(?:fields|software|\d{9,})|^[^\n,;\t]*(?:[,;\t](?! )[^\n,;\t]*){3,}$"
)  # fmt: skip
_FEWEST_PRINTABLE = 0.98
_TRANSCRIPTS = (
    (
        re.compile(rb"(?m)\A(?:#[^\n]*\n)*mark \d+ ok\n\['[A-Z_]+'|\A# mark: FAN_[A-Z_|]+"),
        "a transcript of a watcher of file access (fanotify), which says what was done but not when",
    ),
    (
        re.compile(rb"\ATLS \('[^\n]*\n\d+ b[\"']<\d"),
        "a transcript of a syslog connection as its receiver printed it, not the log itself",
    ),
)


class Described(msgspec.Struct, frozen=True):
    """What a text is that no source recognises; ``blocking`` when records may be hidden in it."""

    looks_like: str
    blocking: bool


def describe(path: Path, name: str) -> Described:
    """Say what kind of text a file is.

    Only a file named as a paper, small, readable, and without a single line in the form of a log, does not block the
    outcome clear: whoever names a log README.md gains nothing.

    Args:
        path: the text in UTF-8.
        name: name of the exhibit.
    """
    with path.open("rb") as handle:
        head = handle.read(_LARGEST_BYTES + 1)
    for sign, words in _TRANSCRIPTS:
        if sign.search(head[:65536]):
            return Described(words, blocking=True)
    if len(head) <= _LARGEST_BYTES and _NAMED.fullmatch(PurePosixPath(name).name) and _is_prose(head):
        return Described("a text document, not a log", blocking=False)
    return Described("text", blocking=True)


def _is_prose(data: bytes) -> bool:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    printable = sum(character.isprintable() or character in "\t\r\n\f" for character in text)
    return printable >= _FEWEST_PRINTABLE * len(text) and _LOG_LINE.search(data) is None
