"""Names of evidence, made safe to print.

A file name is bytes an attacker chose: it may hold escape sequences that rewrite a terminal, an override
that makes ``exe.txt`` of ``txt.exe``, or a line break that forges a line of a log.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import PurePath

# Python keeps a byte that is no UTF-8 as a lone surrogate in this range (PEP 383).
_RAW_BYTE = range(0xDC80, 0xDD00)
_ASCII = range(0x80)
_FOUR_DIGITS = range(0x10000)
_ESCAPE = re.compile(r"\\(?:\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def display_name(name: str | bytes | PurePath) -> str:
    r"""Return a name in a form that is printable, unambiguous and reversible.

    ``\n`` becomes ``\x0a``, a byte that is not UTF-8 ``\xff``, a right-to-left override ``\u202e``, and a
    backslash is doubled. Two different names never look alike through escaping.
    """
    text = name if isinstance(name, str) else os.fsdecode(name)
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_printable, text))


def original_name(displayed: str) -> str:
    """Return the name of which ``display_name`` made this form."""
    return _ESCAPE.sub(lambda found: _unescaped(found[0]), displayed)


def _unescaped(escape: str) -> str:
    if escape == "\\\\":
        return "\\"
    form, digits = escape[1], escape[2:]
    code = int(digits, 16)
    return chr(code if form != "x" or code in _ASCII else code + 0xDC00)


def _printable(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    if code in _RAW_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    # C1 control characters take the \u form, so that \x80 to \xff always mean a raw byte.
    if code in _ASCII:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code in _FOUR_DIGITS else f"\\U{code:08x}"
