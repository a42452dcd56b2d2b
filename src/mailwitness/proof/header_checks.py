"""What a table of Postfix's header_checks does: patterns over single header lines, and an action for the first that fits.

A line: ``/^Subject: .*Security alert/ DISCARD``. Source: header_checks(5), regexp_table(5), pcre_table(5) of Postfix.
A log of messages has the subject, the sender and the message id, so only patterns of those lines are run; a subject
with signs beyond ASCII stood encoded in the line that Postfix saw, and is not compared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.proof import conditions, regexes
from mailwitness.proof.conditions import Condition
from mailwitness.proof.readings import Act, Clause, Part, Reading
from mailwitness.tables import literal

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_LINES = 5000
# "And none of the lines before it": with more SQL than this, some 500 patterns, a line is said and not run. A table of so many is no work
# of an intruder's five minutes, and all its lines together would otherwise be the square of it.
_LONGEST_EARLIER = 50_000
# Postfix's tables, by the name in main.cf; other tables hold no patterns.
_LANGUAGES = {"regexp": regexes.posix, "pcre": regexes.pcre}
_ENTRY = re.compile(
    r"(?P<not>!?)(?P<mark>[^\w\s!#])(?P<pattern>(?:\\.|(?!(?P=mark)).)*)(?P=mark)(?P<flags>\w*)\s*(?P<action>.*)",
    re.DOTALL,
)
_ANCHOR = re.compile(r"\^\(?([A-Za-z][A-Za-z0-9-]*)\)?:")
# The rest of a pattern behind the name of its header that is nothing but a text.
_TEXT = re.compile(r"(?:\s|\\s|\.\*|\[\[:space:\]\]|\*|\+)*((?:[\w @,'-]|\\[.@ -])+)(?:\.\*)?\$?$")
_ACTIONS: dict[str, tuple[Part, str]] = {
    "DISCARD": ("destroys", "discards the message"),
    "REJECT": ("destroys", "refuses the message"),
    "HOLD": ("hides", "keeps the message in the queue"),
    "REDIRECT": ("hides", "redirects the message to {value}"),
    "IGNORE": ("strips", "strips the header"),
    "STRIP": ("strips", "strips the header"),
    "REPLACE": ("strips", "replaces the header by {value}"),
    "PREPEND": ("strips", "puts {value} before the header"),
    "BCC": ("does", "copies it to {value}"),
    "FILTER": ("does", "passes it through {value}"),
    "DELAY": ("does", "delays it"),
    "WARN": ("does", "writes a line into the log"),
    "INFO": ("does", "writes a line into the log"),
    "DUNNO": ("does", "leaves it to the other checks"),
    "OK": ("does", "leaves it to the other checks"),
}


class _Pattern(msgspec.Struct, frozen=True):
    """One line of a table.

    Attributes:
        header: the header whose line it means, lower case; empty when the pattern does not say.
        fits: the condition that a line of the message fits.
        on_subject: the condition that the line of its subject does.
    """

    header: str
    fits: Condition
    words: str
    on_subject: Condition = conditions.NEVER


class _Earlier:
    """The patterns above a line that could take a header before it, and how much SQL they are."""

    def __init__(self) -> None:
        self._subject: list[Condition] = []
        # By header; under the empty name stand patterns that mean any header.
        self._fits: dict[str, list[tuple[int, Condition]]] = {}
        self._sizes: dict[str, int] = {"subject": 0}
        self._count = 0

    def add(self, pattern: _Pattern) -> None:
        """Take a pattern that stands above all lines to come."""
        self._count += 1
        on_subject, fits = conditions.negate(pattern.on_subject), conditions.negate(pattern.fits)
        self._sizes["subject"] += len(on_subject.sql)
        if self._sizes["subject"] <= _LONGEST_EARLIER:
            self._subject.append(on_subject)
        # A line of a subject is never compared by what other headers are.
        name = f"{pattern.header}:"
        self._sizes[name] = self._sizes.get(name, 0) + len(fits.sql)
        if self._sizes[name] <= _LONGEST_EARLIER:
            self._fits.setdefault(name, []).append((self._count, fits))

    def of(self, header: str) -> list[Condition] | None:
        """Return that none of them takes a line of this header; None when they are too many to be run."""
        if header == "subject":
            return self._subject if self._sizes["subject"] <= _LONGEST_EARLIER else None
        names = [f"{header}:", ":"] if header else [name for name in self._sizes if name.endswith(":")]
        if sum(self._sizes.get(name, 0) for name in names) > _LONGEST_EARLIER:
            return None
        found = {number: one for name in names for number, one in self._fits.get(name, ())}
        return [found[number] for number in sorted(found)]


class _Reader:
    def __init__(self, kind: str, can_run: Callable[[str], bool], lines: str) -> None:
        self._kind = kind
        self._lines = lines
        self._can_run = can_run
        self._open: list[Condition] = []
        self._earlier = _Earlier()
        self.clauses: list[Clause] = []
        self.unread: list[str] = []

    def line(self, number: int, text: str) -> None:
        """Take one logical line."""
        word, _, rest = text.partition(" ")
        if word.lower() == "endif":
            if self._open:
                self._open.pop()
            return
        is_if = word.lower() == "if" and bool(rest.strip())
        match = _ENTRY.fullmatch(rest.strip() if is_if else text)
        if match is None:
            self.unread.append(f"line {number}: {text[:80]}")
            return
        pattern = self._pattern(match)
        if is_if:
            self._open.append(pattern.fits)
            return
        self._entry(number, pattern, match["action"])

    def _entry(self, number: int, pattern: _Pattern, action: str) -> None:
        name, _, value = action.partition(" ")
        known = _ACTIONS.get(name.upper())
        if known is None:
            self.unread.append(f"line {number}: the action {action[:60]}")
            return
        part, words = known
        if part == "strips" and name.upper() in {"IGNORE", "STRIP"}:
            act = Act(part, f"strips the header {pattern.words.removesuffix(':')}")
            condition = msgspec.structs.replace(self._first(pattern), words="")
        else:
            act = Act(part, words.replace("{value}", value.strip()[:200] or "a text"))
            condition = msgspec.structs.replace(self._first(pattern), words=self._sentence(pattern))
        self.clauses.append(Clause((act,), condition))
        self._earlier.add(pattern)

    def _first(self, pattern: _Pattern) -> Condition:
        """Return the condition that this is the first pattern that fits the line."""
        earlier = self._earlier.of(pattern.header)
        if earlier is None or sum(len(one.sql) for one in self._open) > _LONGEST_EARLIER:
            return conditions.unknown(
                f"with a header that fits {pattern.words} (too many lines stand before it)"
            )
        found = conditions.all_of([*self._open, pattern.fits, *earlier])
        return msgspec.structs.replace(found, unjudged=pattern.fits.unjudged)

    def _sentence(self, pattern: _Pattern) -> str:
        text = _TEXT.fullmatch(pattern.words.partition(":")[2]) if pattern.header else None
        if text is not None:
            found = text[1].replace("\\", "").strip()
            named = pattern.words.partition(":")[0].strip("()")
            return f"whose {'subject' if pattern.header == 'subject' else named} contains {found}"
        return f"with {self._lines or 'a header'} that fits {pattern.words}"

    def _pattern(self, match: re.Match[str]) -> _Pattern:
        raw, flags = match["pattern"].replace("\\" + match["mark"], match["mark"]), match["flags"]
        anchor = _ANCHOR.match(raw)
        header = anchor[1].lower() if anchor and not match["not"] else ""
        shown = raw.removeprefix("^")
        if self._lines:
            return _Pattern("", conditions.unknown(f"with {self._lines} that fits {raw}"), raw)
        words = f"with a header that fits {'anything but ' if match['not'] else ''}{shown}"
        run, reason = self._runnable(raw, flags)
        if match["not"] or not run:
            told = f"{words} ({reason})" if reason else words
            on_subject = conditions.unknown(told) if header in {"", "subject"} else conditions.NEVER
            return _Pattern(header, conditions.unknown(told), shown, on_subject)
        return _fitting(run, "s" if "i" in flags else "is", header, words, shown)

    def _runnable(self, raw: str, flags: str) -> tuple[str, str]:
        if set(flags) - {"i", "s"}:
            return "", f"its flags {flags} are not run"
        found = {language(raw) for kind, language in _LANGUAGES.items() if self._kind in {kind, ""}}
        if len(found) != 1:
            return "", "a regexp: and a pcre: table would read it differently, and main.cf was not given"
        one = found.pop()
        if one.reason or not self._can_run(one.pattern):
            return "", one.reason or "RE2 does not take it"
        return one.pattern, ""


def _fitting(pattern: str, flags: str, header: str, words: str, shown: str) -> _Pattern:
    """Return a pattern with the condition that a line known from a log fits it; other lines are unknown."""
    test = f"{literal(pattern)}, {literal(flags)})"
    line = f"regexp_matches('Subject: ' || m.Subject, {test}"
    subject = Condition(f"(CASE WHEN NOT regexp_matches(m.Subject, '[^ -~]') THEN {line} END)", words)
    if header == "subject":
        return _Pattern(header, subject, shown, subject)
    if header == "message-id":
        fits = Condition(f"regexp_matches('Message-ID: ' || nullif(m.MessageId, ''), {test}", words)
        return _Pattern(header, fits, shown)
    if header == "from":
        fits = Condition(
            f"(CASE WHEN regexp_matches('From: ' || m.Sender, {test} THEN true END)", words, (words,)
        )
        return _Pattern(header, fits, shown)
    if header:
        return _Pattern(header, conditions.unknown(words), shown)
    return _Pattern(
        header, Condition(f"(CASE WHEN {subject.sql} THEN true END)", words, (words,)), shown, subject
    )


def read(text: str, kind: str, can_run: Callable[[str], bool], *, lines: str = "") -> Reading:
    """Return what a table does.

    Args:
        text: the table.
        kind: ``regexp`` or ``pcre`` as main.cf says; empty when it was not given.
        can_run: whether RE2 takes a regular expression.
        lines: what its patterns are compared with when that is not the header of a message, such as ``a line of the body``.
    """
    reader = _Reader(kind, can_run, lines)
    for number, line in _logical(text):
        reader.line(number, line)
    return Reading(clauses=tuple(_together(reader.clauses)), unread=tuple(reader.unread))


def _logical(text: str) -> list[tuple[int, str]]:
    """Return logical lines with the number of their first: a line that begins with a blank goes on (postconf(5))."""
    found: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            found.append((number, line.strip()))
        if len(found) > _MOST_LINES:
            break
    return found


def _together(clauses: list[Clause]) -> list[Clause]:
    """Join headers that are stripped: who reads the sentence wants the list."""
    strips = [
        clause
        for clause in clauses
        if len(clause.acts) == 1 and clause.acts[0].words.startswith("strips the header ")
    ]
    if len(strips) < 2:  # noqa: PLR2004 - nothing to join
        return clauses
    named = ", ".join(clause.acts[0].words.removeprefix("strips the header ") for clause in strips)
    condition = conditions.any_of([clause.condition for clause in strips])
    joined = Clause(
        (Act("strips", f"strips the headers {named}"),), msgspec.structs.replace(condition, words="")
    )
    kept = {id(clause) for clause in strips}
    return [*(clause for clause in clauses if id(clause) not in kept), joined]
