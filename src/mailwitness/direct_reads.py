"""What a query that reads a table by itself can ask of rows of which something is known beforehand.

A row that no filter behind a mention of the table accepts is not read by the query, whatever else stands in it. Filters are only
understood where they compare a column with texts; anything else may hold for any row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness import kql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mailwitness.kql import Token

    # All values that a column can have, or a pattern that every value of it matches as a whole.
    Fact = frozenset[str] | re.Pattern[str]

_QUOTED = re.compile(r"""@?"([^"\\]*)"|@?'([^'\\]*)'""")


class Read(msgspec.Struct, frozen=True):
    """What one query reads of a table.

    Attributes:
        columns: columns that it names.
        filters: one for each mention of the table, of which a row has to pass one; none where it may read any row.
    """

    columns: frozenset[str]
    filters: tuple[str, ...] = ()


def of_query(query: str, table: str, columns: Iterable[str]) -> Read:
    """Return of which rows of a table a query reads some columns."""
    leading = kql.leading_filters(query, table)
    return Read(frozenset(columns), leading.filters if leading.complete else ())


def columns_of(reads: Iterable[Read], facts: Mapping[str, Fact]) -> set[str]:
    """Return the columns that some queries can ask of rows of which the facts are known."""
    found: set[str] = set()
    for read in reads:
        if not read.filters or any(_may_hold(kql.tokens(one), facts) for one in read.filters):
            found |= read.columns
    return found


def _may_hold(tokens: Sequence[Token], facts: Mapping[str, Fact]) -> bool:
    """Tell whether a predicate may hold for a row with these facts; ``and`` binds closer than ``or``."""
    while tokens and tokens[0].text == "(" and _closes(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    for word, joined in (("or", any), ("and", all)):
        parts = _split(tokens, word)
        if len(parts) > 1:
            return joined(_may_hold(part, facts) for part in parts)
    return _may_compare(tokens, facts)


def _closes(tokens: Sequence[Token]) -> int:
    """Return where the bracket that the tokens begin with is closed."""
    return next(
        (i for i, token in enumerate(tokens) if token.kind == "close" and token.depth == tokens[0].depth), -1
    )


def _split(tokens: Sequence[Token], word: str) -> list[Sequence[Token]]:
    """Split tokens at a word that stands in no brackets."""
    outside = tokens[0].depth if tokens else 0
    cuts = [i for i, token in enumerate(tokens) if token.text == word and token.depth == outside]
    return [tokens[a + 1 : b] for a, b in zip([-1, *cuts], [*cuts, len(tokens)], strict=True)]


def _may_compare(tokens: Sequence[Token], facts: Mapping[str, Fact]) -> bool:
    """Tell whether ``column == "text"``, ``!=``, ``=~``, ``in`` or ``in~`` may hold; anything else may."""
    fact = facts.get(tokens[0].text) if tokens else None
    at = next((i for i, token in enumerate(tokens) if token.kind == "string" or token.text == "("), 0)
    if fact is None or not at:
        return True
    operator = "".join(token.text for token in tokens[1:at])
    texts = [_text(token) for token in tokens[at:] if token.text not in {"(", ")", ","}]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts) or (len(texts) > 1 and not operator.startswith("in")):
        return True
    if operator == "!=":
        return not isinstance(fact, frozenset) or any(value != known[0] for value in fact)
    if operator not in {"==", "=~", "in", "in~"}:
        return True
    return any(_may_be(fact, text, ignore_case=operator.endswith("~")) for text in known)


def _text(token: Token) -> str | None:
    """Return a text as it is written without escapes; None for anything else."""
    match = _QUOTED.fullmatch(token.text)
    return (match.group(1) or match.group(2) or "") if match else None


def _may_be(fact: Fact, text: str, *, ignore_case: bool) -> bool:
    if isinstance(fact, frozenset):
        return any(value == text or (ignore_case and value.casefold() == text.casefold()) for value in fact)
    return re.fullmatch(fact.pattern, text, re.IGNORECASE if ignore_case else 0) is not None
