"""KQL to DuckDB SQL: the one adapter around duckdb-kql.

Only its translation layer is used: our connection runs the SQL, read-only and locked.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from mailwitness.errors import QueryRefused, QueryUnsupported
from mailwitness.kql_forms import shorten
from mailwitness.kql_types import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DUCKDB_TYPES = {
    "string": "VARCHAR",
    "guid": "VARCHAR",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "bool": "BOOLEAN",
    "datetime": "TIMESTAMP",
    "dynamic": "JSON",
    "timespan": "INTERVAL",
}

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*)|(?P<string>h?@"(?:[^"]|"")*"|h?@'(?:[^']|'')*'|h?"(?:\\.|[^"\\])*"|h?'(?:\\.|[^'\\])*')"""
    r"""|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>\d[\w.]*)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<pipe>\|)|(?P<end>;)"""
    r"""|(?P<space>\s+)|(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_TABLE_REFERENCE = re.compile(r'\b(?:FROM|JOIN)\s+"([^"]+)"')
_FILE_REFERENCE = re.compile(r"\b(?:FROM|JOIN)\s+'")
_CTE = re.compile(
    r'(?:WITH\s+(?:RECURSIVE\s+)?|,\s*)"?([A-Za-z_][A-Za-z0-9_]*)"?\s+AS\s+(?:NOT\s+)?(?:MATERIALIZED\s+)?\('
)
_WHERE_STAGE = re.compile(r"_s(\d+) AS \(SELECT \* FROM _s(\d+) WHERE (.*)\)(?:,|)$")
_CLOCK_PARAMETER = "$kqlnow"
_ANY_MOMENT = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_CLOCK = re.compile(r"\b(?:now|ago)\s*\(")


class Token(msgspec.Struct, frozen=True):
    """A word, string, bracket or operator of a query with its place."""

    kind: str
    text: str
    start: int
    depth: int


@lru_cache(maxsize=2048)
def tokens(kql: str) -> tuple[Token, ...]:
    """Split a query into tokens without spaces and comments; ``depth`` counts open brackets."""
    found = []
    depth = 0
    for match in _TOKEN.finditer(kql):
        kind = match.lastgroup or "other"
        if kind in {"space", "comment"}:
            continue
        depth -= kind == "close"
        found.append(Token(kind, match.group(), match.start(), depth))
        depth += kind == "open"
    return tuple(found)


def words(kql: str) -> set[str]:
    """Return every identifier of a query, outside strings and comments."""
    return {token.text for token in tokens(kql) if token.kind == "word"}


def watchlists_named(kql: str) -> set[str]:
    """Return the watchlists that a query asks by Sentinel's function, lower case."""
    return {name.lower() for _, _, name in _watchlist_calls(kql)}


def _watchlist_calls(kql: str) -> list[tuple[int, int, str]]:
    """Return where each ``_GetWatchlist('name')`` begins and ends, with the name."""
    listed = tokens(kql)
    return [
        (token.start, listed[i + 3].start + 1, listed[i + 2].text.strip("@h").strip("\"'"))
        for i, token in enumerate(listed[:-3])
        if token.text == "_GetWatchlist"
        and listed[i + 1].text == "("
        and listed[i + 2].kind == "string"
        and listed[i + 3].text == ")"
    ]


def with_watchlists(kql: str) -> str:
    """Write Sentinel's ``_GetWatchlist('name')`` as a query of our table Watchlists.

    A name that is more than letters, digits, ``_``, ``-`` and spaces is left alone and refused as an unknown function,
    and so is a call in a place where the filter would bind to more than the list, such as the middle of a union.
    """
    for start, end, name in reversed(_watchlist_calls(kql)):
        if re.fullmatch(r"[\w -]+", name) and kql[:start].rstrip()[-1:] in {"", ";", "=", "("}:
            kql = f"{kql[:start]}Watchlists | where Watchlist =~ '{name}'{kql[end:]}"
    return kql


def uses_clock(kql: str) -> bool:
    """Tell whether the query asks for the present time."""
    return bool(_CLOCK.search(kql))


def referenced_tables(kql: str, known: Mapping[str, object]) -> set[str]:
    """Return the known tables that a query names where a table can stand."""
    found = set()
    listed = tokens(kql)
    for i, token in enumerate(listed):
        if token.kind == "word" and token.text in known:
            before = listed[i - 1].text if i else ""
            if before not in {".", "$", "by"}:
                found.add(token.text)
    return found


class Leading(msgspec.Struct, frozen=True):
    """The filters that directly follow each mention of a table.

    Attributes:
        filters: KQL predicates, one for each mention.
        complete: every mention of the table has at least one filter.
    """

    filters: tuple[str, ...]
    complete: bool


def leading_filters(kql: str, table: str) -> Leading:
    """Find the ``| where`` steps that directly follow each mention of ``table``.

    A row that none of these predicates accepts can never reach the rest of the query,
    so a rule without any accepted row has no findings.
    """
    listed = tokens(kql)
    filters: list[str] = []
    complete = True
    for i, token in enumerate(listed):
        if token.kind != "word" or token.text != table:
            continue
        steps: list[str] = []
        at = i + 1
        while at + 1 < len(listed) and listed[at].kind == "pipe" and listed[at + 1].text == "where":
            start = listed[at + 1].start + len("where")
            end_at = at + 2
            while end_at < len(listed) and not _ends(listed[end_at], token.depth):
                end_at += 1
            end = listed[end_at].start if end_at < len(listed) else len(kql)
            steps.append(kql[start:end].strip())
            at = end_at
        if steps:
            # A comment at the end of a step would take the bracket behind it with it.
            closed = (f"({step}\n)" if "//" in step else f"({step})" for step in steps)
            filters.append(" and ".join(closed))
        else:
            complete = False
    return Leading(tuple(filters), complete and bool(filters))


def _ends(token: Token, depth: int) -> bool:
    """Tell whether a token closes a step that stands at ``depth``."""
    if token.depth > depth:
        return False
    return token.kind in {"pipe", "end"} or (token.kind == "close" and token.depth < depth)


def scalar_lets(kql: str) -> str:
    """Return the ``let`` statements of a query, so that its predicates can be read alone."""
    listed = tokens(kql)
    parts: list[str] = []
    start = 0
    for token in listed:
        if token.kind == "end" and token.depth == 0:
            statement = kql[start : token.start + 1]
            start = token.start + 1
            if re.match(r"\s*(?://[^\n]*\n\s*)*let\b", statement):
                parts.append(statement)
    return "".join(parts)


# How the translator writes one term of `has` and `has_any`: plain, and for terms that begin or end beyond ASCII.
_WORD = r"'((?:[^']|'')*)'"
_PLAIN_TERM = (
    re.escape(r"'(?i)(?:^|[^\pL\pN])' || regexp_escape(") + _WORD + re.escape(r") || '(?:$|[^\pL\pN])')")
)
_WIDE_TERM = (
    re.escape("'(?i)' || CASE WHEN regexp_matches(")
    + _WORD
    + re.escape(r", '^[\pL\pN]') THEN '(?:^|[^\pL\pN])' ELSE '' END || regexp_escape(")
    + _WORD
    + re.escape(") || CASE WHEN regexp_matches(")
    + _WORD
    + re.escape(r", '[\pL\pN]$') THEN '(?:$|[^\pL\pN])' ELSE '' END)")
)
_TERM = re.compile(f"(?:{_PLAIN_TERM}|{_WIDE_TERM})")
_START, _END = r"(?:^|[^\pL\pN])", r"(?:$|[^\pL\pN])"


def fold_terms(sql: str) -> str:
    """Turn the terms of one ``has_any`` list into one alternation.

    The translator writes a regular expression for each term; 60 of them compiled for each thread cost
    seconds and a gigabyte, one alternation costs milliseconds and gives the same rows.
    """
    parts: list[str] = []
    at = 0
    while (match := _TERM.search(sql, at)) is not None:
        call = sql.rfind("regexp_matches(", at, match.start())
        argument = sql[call + len("regexp_matches(") : match.start()] if call >= 0 else ""
        following = f" OR regexp_matches({argument}"
        terms, end = [_term(match)], match.end()
        while (
            call >= 0 and sql.startswith(following, end) and (more := _TERM.match(sql, end + len(following)))
        ):
            terms.append(_term(more))
            end = more.end()
        if len(terms) > 1:
            parts += [sql[at : match.start()], "'(?i)" + _alternation(terms) + "')"]
        else:
            parts.append(sql[at:end])
        at = end
    return "".join([*parts, sql[at:]])


def _term(match: re.Match[str]) -> str:
    """Return the term as SQL writes it, quotes doubled."""
    return match.group(1) if match.group(1) is not None else match.group(3)


def _alternation(terms: list[str]) -> str:
    """Write terms as one regular expression, inside an SQL literal; those with both edges share them."""
    both: list[str] = []
    others: list[str] = []
    for term in dict.fromkeys(terms):
        plain = term.replace("''", "'")
        escaped = "".join(c if c.isalnum() or c == "_" or ord(c) > 127 else "\\" + c for c in plain)  # noqa: PLR2004 - ASCII
        escaped = escaped.replace("'", "''")
        starts, ends = _is_word(plain[:1]), _is_word(plain[-1:])
        if starts and ends:
            both.append(escaped)
        else:
            others.append((_START if starts else "") + escaped + (_END if ends else ""))
    shared = [f"{_START}(?:{'|'.join(both)}){_END}"] if both else []
    return "|".join([*shared, *others])


def _is_word(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LN"


def at_clock(sql: str, now: dt.datetime) -> str:
    """Close the clock of a translation that was kept with an open one: ``now`` is aware UTC."""
    moment = now.replace(tzinfo=None).isoformat(sep=" ")
    return sql.replace(_CLOCK_PARAMETER, f"TIMESTAMP '{moment}'")


class KqlEngine:
    """Translate KQL for a fixed set of tables; translations are kept."""

    def __init__(
        self,
        schema: Mapping[str, Iterable[str]],
        cache: dict[str, str] | None = None,
        types: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Take the tables a query may name: table -> column names, and table -> column -> DuckDB type."""
        self.schema = {table: list(columns) for table, columns in schema.items()}
        self.types = types or {}
        self.cache = {} if cache is None else cache

    def to_sql(self, kql: str, *, now: dt.datetime) -> str:
        """Translate one query; ``now`` is what ``now()`` and ``ago()`` mean in it.

        Raises:
            QueryUnsupported: the query is not KQL, or uses a part that cannot be run faithfully.
            QueryRefused: it names a table outside the allow-list, or a management command.
        """
        return at_clock(self.open_sql(kql), now)

    def open_sql(self, kql: str) -> str:
        """Translate one query and leave its clock open, for :func:`at_clock`; raises as :meth:`to_sql` does."""
        if kql not in self.cache:
            self.cache[kql] = self._translate(kql)
        return self.cache[kql]

    def _translate(self, kql: str) -> str:
        if [token.text for token in tokens(kql)[:1]] == ["."]:
            raise QueryRefused(
                "management commands are not run", remedy="Ask for rows, such as: OfficeActivity | count."
            )
        import duckdb_kql  # noqa: PLC0415 - 94 ms, only needed when the cache is cold
        from duckdb_kql.errors import KqlError  # noqa: PLC0415

        try:
            sql = str(
                duckdb_kql.to_sql(
                    with_watchlists(kql), schema=self.schema, allow_write=False, query_now=_ANY_MOMENT
                )
            )
        except KqlError as error:
            message = " ".join(str(error).split())
            raise QueryUnsupported(
                f"the query cannot be run: {message}", remedy="Rewrite that part of the query."
            ) from error
        except RecursionError as error:
            raise QueryUnsupported(
                "the query is nested too deeply", remedy="Split it into several queries."
            ) from error
        self._check_tables(sql)
        return fold_terms(shorten(resolve(sql, self._types(sql))))

    def _types(self, sql: str) -> dict[str, str]:
        """Return the columns whose type is the same in every table that a translation reads."""
        found: dict[str, set[str]] = {}
        for name in set(_TABLE_REFERENCE.findall(sql)) & self.types.keys():
            for column, kind in self.types[name].items():
                found.setdefault(column, set()).add(kind)
        return {column: kinds.pop() for column, kinds in found.items() if len(kinds) == 1}

    def _check_tables(self, sql: str) -> None:
        """Refuse anything that is not a table of ours: DuckDB would read a quoted name as a file."""
        own = set(_CTE.findall(sql))
        for name in _TABLE_REFERENCE.findall(sql):
            if name not in self.schema and name not in own:
                message = f"there is no table {name!r}"
                raise QueryRefused(message, remedy="Name a table that `mailwitness sources` lists.")
        if _FILE_REFERENCE.search(sql):
            raise QueryRefused("a query may not read files", remedy="Name a table instead.")

    def predicate_sql(self, kql: str, table: str, predicate: str, *, now: dt.datetime) -> str | None:
        """Return one leading filter as an SQL expression, None when it cannot stand alone."""
        sql = self.to_sql(f"{scalar_lets(kql)}\n{table}\n| where {predicate}", now=now)
        lines = [line.strip() for line in sql.splitlines()]
        stages = [match for line in lines if (match := _WHERE_STAGE.match(line.removeprefix("WITH ")))]
        last = re.fullmatch(r"SELECT \* FROM _s(\d+)", lines[-1])
        if not stages or last is None or stages[-1].group(1) != last.group(1):
            return None
        source = f'_s{stages[-1].group(2)} AS (SELECT * FROM "{table}")'
        if not any(source in line for line in lines):
            return None
        return stages[-1].group(3)
