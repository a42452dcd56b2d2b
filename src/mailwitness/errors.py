"""Every error a user can meet: a stable code, what happened, where, and the remedy in one sentence.

MailwitnessError
├── EvidenceError            MW100  an input cannot be taken as evidence
│   ├── Unreadable           MW101  the file cannot be opened or read
│   ├── ChangedWhileRead     MW102  the file changed between hashing and loading
│   └── CustodyBroken        MW103  the custody log does not verify
├── CaseError                MW200  the case folder cannot be used
│   ├── NotACase             MW201  the folder is not a case
│   ├── CaseLocked           MW202  another run works on this case
│   ├── CaseBookError        MW203  the case book cannot do what was asked
│   └── CaseChanged          MW204  somebody else changed the case meanwhile
├── SourceError              MW300  an input cannot be recognised or loaded
├── ContentError             MW400  a content file is wrong
├── QueryError               MW500  a query cannot be run
│   ├── QueryRefused         MW501  the query asks for something that is not allowed
│   ├── QueryUnsupported     MW502  the query uses KQL that cannot be run faithfully
│   └── QueryTimeout         MW503  the query took longer than allowed
├── ConfigError              MW600  a setting is wrong
│   └── MemoryTooSmall       MW601  the database needs more memory than it may take
└── WitnessError             MW700  the witness cannot do what was asked
    ├── StoreDamaged         MW701  the witness's store lacks or contradicts what it acknowledged
    ├── WitnessUnreachable   MW702  no witness answers, or the connection broke
    └── WitnessRefused       MW703  the witness or the client was refused

Each code has an entry in docs/errors.md.
"""

from __future__ import annotations


class MailwitnessError(Exception):
    """Say what happened, where, and what to do about it.

    Attributes:
        code: stable identifier, the key of the entry in docs/errors.md.
        message: what happened, one sentence without the place.
        place: file, line, rule or table; empty when the whole run is meant.
        remedy: one imperative sentence.
    """

    code = "MW000"

    def __init__(self, message: str, *, place: str = "", remedy: str = "") -> None:
        """Keep the three parts apart so that each reader can format them."""
        super().__init__(message)
        self.message = message
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the one-line form printed on a terminal."""
        where = f"{self.place}: " if self.place else ""
        if not self.remedy:
            return f"{where}{self.message}"
        end = "" if self.message.endswith((".", "!", "?", ":")) else "."
        return f"{where}{self.message}{end} {self.remedy}"


class EvidenceError(MailwitnessError):
    """An input cannot be taken as evidence."""

    code = "MW100"


class Unreadable(EvidenceError):
    """The file cannot be opened or read."""

    code = "MW101"


class ChangedWhileRead(EvidenceError):
    """The file changed between hashing and loading."""

    code = "MW102"


class CustodyBroken(EvidenceError):
    """The custody log does not verify."""

    code = "MW103"


class CaseError(MailwitnessError):
    """The case folder cannot be used."""

    code = "MW200"


class NotACase(CaseError):
    """The folder is not a case."""

    code = "MW201"


class CaseLocked(CaseError):
    """Another run works on this case."""

    code = "MW202"


class CaseBookError(CaseError):
    """The case book cannot do what was asked."""

    code = "MW203"


class CaseChanged(CaseError):
    """Somebody else changed the case meanwhile."""

    code = "MW204"


class SourceError(MailwitnessError):
    """An input cannot be recognised or loaded."""

    code = "MW300"


class ContentError(MailwitnessError):
    """A content file is wrong."""

    code = "MW400"


class QueryError(MailwitnessError):
    """A query cannot be run."""

    code = "MW500"


class QueryRefused(QueryError):
    """The query asks for something that is not allowed."""

    code = "MW501"


class QueryUnsupported(QueryError):
    """The query uses KQL that cannot be run faithfully."""

    code = "MW502"


class QueryTimeout(QueryError):
    """The query took longer than allowed."""

    code = "MW503"


class ConfigError(MailwitnessError):
    """A setting is wrong."""

    code = "MW600"


class MemoryTooSmall(ConfigError):
    """The database needs more memory than it may take."""

    code = "MW601"


class WitnessError(MailwitnessError):
    """The witness cannot do what was asked."""

    code = "MW700"


class StoreDamaged(WitnessError):
    """The witness's store lacks or contradicts what it acknowledged."""

    code = "MW701"


class WitnessUnreachable(WitnessError):
    """No witness answers, or the connection broke."""

    code = "MW702"


class WitnessRefused(WitnessError):
    """The witness or the client was refused."""

    code = "MW703"
