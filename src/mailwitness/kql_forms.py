"""Write what the translator says in a roundabout way in the form that the database runs fastest; the rows are the same.

Sets alone get more than that: their values come in one order, so that the same evidence gives the same report.

The forms are those of the pinned translator. One it no longer writes is simply not found.
"""

from __future__ import annotations

import re

_VALUE = r"'((?:[^']|'')*)'"
# A text of a nested value: the value taken out as JSON, then written as text. Every step reads the whole value.
_NESTED_TEXT = re.compile(r"""json_extract\(("(?:[^"]|"")+"), '(\$[^']*)'\) ->> '\$'""")
# A searched text with the signs of a pattern disarmed, which hides from the planner that it is a plain search.
_DISARMED = (
    re.escape("replace(replace(replace(") + _VALUE + re.escape(r""", '\', '\\'), '%', '\%'), '_', '\_')""")
)
_PATTERN = re.compile(rf"(I?LIKE) ('%' \|\| )?{_DISARMED}( \|\| '%')? ESCAPE '\\'")
_LOWER = re.compile(r"\blower\('([ -&(-~]+)'\)")
_SIGNS = frozenset("\\%_")
# A set of values, which the database puts together from several threads.
_SET = re.compile(r"\blist_distinct\((flatten\(list\(.*?\) FILTER \(WHERE .*? IS NOT NULL\)\))\)", re.DOTALL)


def shorten(sql: str) -> str:
    """Return a translation with nested values read once, searches for plain text written as such, and sets in one order."""
    sql = _NESTED_TEXT.sub(r"\1 ->> '\2'", sql)
    sql = _PATTERN.sub(_plain_search, sql)
    sql = _SET.sub(r"list_sort(list_distinct(\1))", sql)
    return _LOWER.sub(lambda match: f"'{match[1].lower()}'", sql)


def _plain_search(match: re.Match[str]) -> str:
    how, before, text, behind = match.groups()
    if _SIGNS & set(text):
        return match[0]
    return f"{how} '{'%' if before else ''}{text}{'%' if behind else ''}'"
