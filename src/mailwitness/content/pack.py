"""All knowledge of one run in one object, kept ready between runs.

Reading and translating a hundred YAML files takes a second; the result only depends on their bytes
and on the versions of the translator and the schema, so it is kept under the digest of these.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import msgspec

from mailwitness.content import documents, kept, loader
from mailwitness.content.foreign import load as foreign
from mailwitness.content.playbook import Question, questions
from mailwitness.content.schemas import Chain, Explanation, Parser, Rule, RulePlatform

SHIPPED = loader.CONTENT / "translations.json.gz"
_MOST_TRANSLATIONS = 5000


class Pack(msgspec.Struct, kw_only=True):
    """Rules and parsers with their digest and the translations known so far.

    Attributes:
        refused: rules of the given folders that cannot be used, each with its reason.
        platforms: id of a shipped rule -> whose acts it is about; rules about every platform are not in it.
        covers: id of a rule or chain -> ids of the rules whose finding about the same record says nothing more.
        sql: query, or what is asked of it -> its translation or answer.
        learnt: how many of these the cache holds.
    """

    digest: str
    rules: list[Rule]
    parsers: list[Parser]
    explanations: list[Explanation] = []
    refused: list[foreign.Refused] = []
    chains: list[Chain] = []
    questions: list[Question] = []
    covers: dict[str, list[str]] = {}
    platforms: dict[str, RulePlatform] = {}
    sql: dict[str, str] = {}
    key: str = ""
    learnt: int = 0


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of record without which some activities cannot show.

    Attributes:
        name: in words, as it completes "the evidence holds no ...".
        table: where such records are.
        record_types: values of ``column`` that such a record has one of.
        activities: what only they show, as far as no other present table does.
        column: the column that tells the kind.
        host: it is about what a host writes down by itself: said of a host, but no verdict has to wait for it.
        apart: an export of its own, or one that is empty where nothing of the kind was done: said, but no verdict waits.
        beside: column of Syslog -> values; where such rows are, the family is missed even if its whole table is absent.
    """

    name: str
    table: str
    record_types: list[str]
    activities: list[str]
    column: str = "RecordType"
    host: bool = False
    apart: bool = False
    beside: dict[str, list[str]] = {}


def families() -> list[Family]:
    """Return the record families of the tables."""
    path = loader.CONTENT / "parsers" / "_families.yaml"
    return msgspec.convert(loader.read_yaml(path), list[Family])


def load(*folders: Path) -> Pack:
    """Return the shipped knowledge with the rules of further folders.

    Raises:
        ContentError: a content file is wrong.
    """
    digest = loader.digest(*folders)
    key = hashlib.sha256(f"{digest}|{engine_version()}|7".encode()).hexdigest()
    found = ready(key)
    if found is not None:
        return found
    ruled, chained = loader.rules(), loader.chains()
    given = foreign.load(*folders)
    return Pack(
        digest=digest,
        rules=[*(rule for _, rule in ruled), *(item.rule for item in given.accepted)],
        parsers=loader.parsers(),
        explanations=[item for _, item in loader.explanations()],
        refused=given.refused,
        questions=[question for _, question in questions()],
        chains=[*(chain for _, chain in chained), *(item.chain for item in given.chains)],
        covers=loader.covers(ruled, chained),
        platforms=loader.platforms(ruled),
        sql=translations(),
        key=key,
    )


def translations() -> dict[str, str]:
    """Return all translations that a first run starts with: those that come with the package, and those that were kept."""
    return shipped() | _translations()


def shipped() -> dict[str, str]:
    """Return the translations that come with the package: a first run would spend ten seconds on them.

    They are found by the whole text of a query, so one that is out of date is never used.
    """
    try:
        found = json.loads(gzip.decompress(SHIPPED.read_bytes()))
    except (OSError, ValueError, EOFError):
        return {}
    listed: dict[str, str] = found["sql"] if found.get("engine") == engine_version() else {}
    return listed


_TRANSLATORS = [Path(__file__).parents[1] / name for name in ("kql.py", "kql_types.py", "kql_forms.py")]


def engine_version() -> str:
    """Return the versions that a translation depends on; of our own part of it, the digest of its source."""
    own = hashlib.sha256(b"".join(path.read_bytes() for path in _TRANSLATORS)).hexdigest()[:16]
    return f"duckdb-kql {version('duckdb-kql')}, duckdb {version('duckdb')}, own {own}"


def save(pack: Pack, learnt: dict[str, str]) -> None:
    """Keep the pack with its translations for the next run; a cache that cannot be written is no error.

    Evidence of another kind asks for other translations, so a pack is written again whenever a run learnt some.
    They are kept a second time by themselves: a pack with one rule more still finds those of all other rules.
    """
    documents.save()
    path = kept.place(f"pack-{pack.key[:32]}.msgpack")
    if path is None or not pack.key or (len(learnt) <= pack.learnt and path.exists()):
        return
    other = ready(pack.key)
    # What another process has learnt meanwhile stays.
    pack.sql = learnt if other is None else other.sql | learnt
    pack.learnt = len(pack.sql)
    kept.write(path, msgspec.msgpack.encode(pack))
    keep(learnt)


def keep(learnt: dict[str, str]) -> None:
    """Keep translations by themselves, for every pack that asks the same."""
    known = _translations()
    if not learnt.keys() <= known.keys():
        # Queries that nobody asks any more would pile up for ever.
        lasting = learnt if len(known) > _MOST_TRANSLATIONS else known | learnt
        kept.write(_translations_path(), msgspec.msgpack.encode(lasting))


def _translations_path() -> Path | None:
    # A translation depends on the query, the translator, and the columns of the tables.
    versions = hashlib.sha256(f"{engine_version()}|{loader.tables_digest()}".encode()).hexdigest()
    return kept.place(f"translations-{versions[:32]}.msgpack")


def _translations() -> dict[str, str]:
    path = _translations_path()
    try:
        return msgspec.msgpack.decode(kept.read(path), type=dict[str, str]) if path else {}
    except (OSError, msgspec.MsgspecError):
        return {}


def ready(key: str) -> Pack | None:
    """Return the pack that the cache holds under a key."""
    path = kept.place(f"pack-{key[:32]}.msgpack")
    if path is None:
        return None
    try:
        found = msgspec.msgpack.decode(kept.read(path), type=Pack)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.key == key else None
