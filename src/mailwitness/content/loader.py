"""Read content files: strict YAML into typed records, with file and key in every error."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mailwitness.content import documents, schemas
from mailwitness.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = Path(__file__).parent
T = TypeVar("T")
S = TypeVar("S", schemas.ChainStep, schemas.Forbidden)
_PLACEHOLDER = re.compile(r"\{\{watchlist:([a-z0-9_]+):([A-Za-z0-9_]+)\}\}")

_PART = re.compile(r"\{\{part:([a-z_]+)\}\}")
_LET = re.compile(r"\{\{let:([a-z0-9_/]+):(\w+)\}\}")
_SHARED = re.compile(r"\{\{(before|after):([a-z0-9_]+)\}\}")


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - any YAML document
    """Parse one YAML document and refuse duplicate keys.

    Raises:
        ContentError: the file is not YAML, or a mapping names a key twice.
    """
    content = path.read_bytes()
    if not path.is_relative_to(CONTENT):
        return _parsed(path, content)
    found = documents.find(content)
    if found is None:
        found = _parsed(path, content)
        documents.keep(content, found)
    return found


def _parsed(path: Path, content: bytes) -> Any:  # noqa: ANN401 - any YAML document
    import yaml  # noqa: PLC0415 - 21 ms, not needed for --help

    try:
        return yaml.load(content.decode("utf-8"), _strict(path))  # noqa: S506 - a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"this is not a YAML file ({' '.join(str(error).split())})"
        raise ContentError(message, place=str(path), remedy="Correct its syntax.") from error


def _strict(path: Path) -> Any:  # noqa: ANN401 - a class of yaml, which is imported late
    """Return a loader that names ``path`` in its errors."""
    import yaml  # noqa: PLC0415

    class Loader(yaml.CSafeLoader):
        """PyYAML keeps the last of two equal keys; a rule must not change meaning silently."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:  # noqa: ANN401 - yaml's own types
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = loader.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                message = f"the key {key!r} occurs twice"
                raise ContentError(message, place=f"{path}:{line}", remedy="Remove one of them.")
            seen.add(key)
        return dict(loader.construct_pairs(node, deep=True))

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    # A date in a test stays text: the column's type decides what it is.
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def read(path: Path, kind: type[T]) -> T:
    """Read one content file as ``kind``.

    Raises:
        ContentError: a key is missing, unknown or of the wrong type.
    """
    try:
        return msgspec.convert(read_yaml(path), kind, strict=False)
    except msgspec.ValidationError as error:
        raise ContentError(str(error), place=str(path), remedy="See the template of its folder.") from error


def files(kind: str) -> Iterator[Path]:
    """Yield the content files of one kind in a stable order; names with ``_`` are not content."""
    for path in sorted((CONTENT / kind).rglob("*.yaml")):
        if not path.name.startswith("_"):
            yield path


@cache
def watchlist(name: str, kind: str) -> tuple[str, ...]:
    """Return the names of one kind from a watchlist file, case folded, in file order."""
    path = CONTENT / "watchlists" / f"{name}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = [row for row in csv.DictReader(handle) if row.get("kind") == kind]
    except OSError as error:
        raise ContentError(
            f"there is no watchlist {name!r}", place=str(path), remedy="Correct the placeholder."
        ) from error
    if not rows:
        raise ContentError(
            f"the watchlist has no row of kind {kind!r}",
            place=str(path),
            remedy="Correct the placeholder.",
        )
    return tuple(dict.fromkeys(row["name"].strip().lower() for row in rows))


@cache
def shared_part(name: str, part: str) -> str:
    """Return the text of another parser before its table, or from its first ``lookup`` on.

    One platform's decisions (which cmdlet means what) then serve every source of the same commands.
    """
    path = CONTENT / "parsers" / f"{name}.yaml"
    query = read(path, schemas.Parser).query
    before, table, after = query.partition(f"\n{read(path, schemas.Parser).table}\n")
    start = after.find("| lookup ")
    if not table or start < 0:
        raise ContentError(
            "the parser has no table line or no lookup to share from",
            place=str(path),
            remedy="Correct the placeholder.",
        )
    return before if part == "before" else after[start:]


@cache
def part(name: str) -> str:
    """Return a piece of KQL that several explanations or parsers share."""
    paths = [CONTENT / folder / "_parts.yaml" for folder in ("explanations", "parsers")]
    parts = {key: text for path in paths for key, text in read_yaml(path).items()}
    if name not in parts:
        place = ", ".join(map(str, paths))
        raise ContentError(f"there is no part {name!r}", place=place, remedy="Correct the placeholder.")
    return str(parts[name]).strip()


@cache
def let_value(rule: str, name: str) -> str:
    """Return the value of a rule's ``let`` line, so that a chain and a rule share one list of words."""
    path = CONTENT / "rules" / f"{rule}.yaml"
    found = re.search(rf"^let {re.escape(name)} = (.+);$", read(path, schemas.Rule).query, re.MULTILINE)
    if found is None:
        raise ContentError(
            f"the rule has no line `let {name} = ...;`", place=str(path), remedy="Correct the placeholder."
        )
    return expand(found.group(1))


def expand(query: str) -> str:
    """Replace placeholders.

    ``{{watchlist:file:kind}}`` becomes KQL string literals, ``{{before:parser}}`` and ``{{after:parser}}`` that
    parser's text, ``{{part:name}}`` a piece that several share, and ``{{let:rule:name}}`` the value of a rule's line.
    """
    query = _SHARED.sub(lambda match: shared_part(match.group(2), match.group(1)), query)
    query = _PART.sub(lambda match: part(match.group(1)), query)
    query = _LET.sub(lambda match: let_value(match.group(1), match.group(2)), query)

    def literals(match: re.Match[str]) -> str:
        names = watchlist(match.group(1), match.group(2))
        return ", ".join("'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'" for name in names)

    return _PLACEHOLDER.sub(literals, query)


def with_query(item: T) -> T:
    """Return the rule or parser with its placeholders expanded."""
    return msgspec.structs.replace(item, query=expand(item.query))  # type: ignore[type-var,attr-defined]


@cache
def tables() -> dict[str, schemas.Table]:
    """Return every table with its extension columns, by name."""
    extensions: dict[str, list[dict[str, str]]] = {}
    path = CONTENT / "tables" / "_extensions.yaml"
    if path.exists():
        extensions = read_yaml(path)
    everywhere = extensions.pop("*", [])
    read_tables = [read(file, schemas.Table) for file in files("tables")]
    own = {table.table: table.columns for table in read_tables}
    found = {}
    for plain in read_tables:
        table = msgspec.structs.replace(plain, columns=[*plain.columns, *own.get(plain.like, [])])
        known = {column.name.lower() for column in table.columns}
        extra = [
            msgspec.convert(column, schemas.Column)
            for column in [*extensions.get(table.table, []), *everywhere]
        ]
        added = [column for column in extra if column.name.lower() not in known]
        found[table.table] = msgspec.structs.replace(table, columns=[*table.columns, *added])
    return found


def rules(*folders: Path) -> list[tuple[Path, schemas.Rule]]:
    """Return the shipped rules, or those in the given folders, with their files.

    Raises:
        ContentError: a folder holds no rule, or a rule is wrong.
    """
    for folder in folders:
        if not _rule_files(folder):
            raise ContentError(
                "there is no rule here", place=str(folder), remedy="Name a rule file or a folder of rules."
            )
    paths = [path for folder in folders for path in _rule_files(folder)] if folders else list(files("rules"))
    return [(path, with_query(read(path, schemas.Rule))) for path in paths]


def hunts() -> list[tuple[Path, schemas.Rule]]:
    """Return the hunting queries with their files: rules in form, but a person runs them and they raise nothing."""
    return [(path, with_query(read(path, schemas.Rule))) for path in files("hunts")]


def chains(*paths: Path) -> list[tuple[Path, schemas.Chain]]:
    """Return the shipped chains, or those in the given files, with their files.

    Raises:
        ContentError: a chain is wrong.
    """
    return [(path, _with_filters(read(path, schemas.Chain))) for path in paths or files("chains")]


def platforms(ruled: list[tuple[Path, schemas.Rule]]) -> dict[str, schemas.RulePlatform]:
    """Return id of a shipped rule -> whose acts it is about; rules about every platform are not in it.

    Raises:
        ContentError: the list of platforms is wrong.
    """
    path = CONTENT / "rules" / "_platforms.yaml"
    try:
        known = msgspec.convert(read_yaml(path), dict[str, schemas.RulePlatform])
    except msgspec.ValidationError as error:
        raise ContentError(str(error), place=str(path), remedy="Give each a name and tables.") from error
    return {rule.id: known[file.parent.name] for file, rule in ruled if file.parent.name in known}


def covers(
    ruled: list[tuple[Path, schemas.Rule]], chained: list[tuple[Path, schemas.Chain]]
) -> dict[str, list[str]]:
    """Return id of a rule or chain -> ids of the rules whose finding about the same record says nothing more, sorted.

    Args:
        ruled: the shipped rules with their files.
        chained: the shipped chains with their files.

    Raises:
        ContentError: a name has no file, or a rule covers itself.
    """
    path = CONTENT / "rules" / "_covers.yaml"
    given: dict[str, list[str]] = read_yaml(path)
    ids = {_stem(file, "rules"): rule.id for file, rule in ruled}
    ids |= {f"chains/{_stem(file, 'chains')}": chain.id for file, chain in chained}
    for name in [*given, *(name for listed in given.values() for name in listed)]:
        if name not in ids:
            message = f"there is no rule or chain {name!r}"
            raise ContentError(message, place=str(path), remedy="Correct the name.")
    # What a chain covers it says itself; the findings of its single steps stay, because they are its steps.
    found = {
        ids[name]: sorted(
            ids[one] for one in (listed if name.startswith("chains/") else _reached(given, name))
        )
        for name, listed in given.items()
    }
    if any(one in listed for one, listed in found.items()):
        raise ContentError("a rule covers itself", place=str(path), remedy="Break the circle.")
    return found


def _stem(path: Path, kind: str) -> str:
    return path.relative_to(CONTENT / kind).with_suffix("").as_posix()


def _reached(given: dict[str, list[str]], name: str) -> set[str]:
    """Return everything that a name covers, directly or through another."""
    found: set[str] = set()
    left = list(given.get(name, ()))
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += given.get(one, ())
    return found


def _with_filters(chain: schemas.Chain) -> schemas.Chain:
    steps = {name: _expanded(step) for name, step in chain.steps.items()}
    forbidden = {name: _expanded(step) for name, step in chain.forbidden.items()}
    return msgspec.structs.replace(chain, steps=steps, forbidden=forbidden)


def _expanded(step: S) -> S:
    return msgspec.structs.replace(step, filter=expand(step.filter), query=expand(step.query))


def _rule_files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.suffix in {".yaml", ".yml"})


def explanations(*paths: Path) -> list[tuple[Path, schemas.Explanation]]:
    """Return the shipped explanations, or those in the given files, with their files."""
    listed = list(paths) if paths else list(files("explanations"))
    return [(path, with_query(read(path, schemas.Explanation))) for path in listed]


def parsers() -> list[schemas.Parser]:
    """Return every parser."""
    return [with_query(read(path, schemas.Parser)) for path in files("parsers")]


def checks(*paths: Path) -> list[tuple[Path, schemas.Check]]:
    """Return the shipped checks of posture, or those in the given files, with their files."""
    return [(path, with_query(read(path, schemas.Check))) for path in paths or files("checks")]


def proofs() -> list[schemas.Proof]:
    """Return every proof: where records of single messages come from."""
    return [read(path, schemas.Proof) for path in files("proofs")]


def deliveries() -> list[schemas.Proof]:
    """Return what each log says of messages that reached a mailbox: rules over time are replayed over them."""
    return [read(path, schemas.Proof) for path in files("deliveries")]


def setting_families() -> list[schemas.SettingFamily]:
    """Return every family of rules and settings, by kind."""
    found = [read(path, schemas.SettingFamily) for path in files("settings")]
    return sorted(found, key=lambda family: family.kind)


def recoveries() -> list[schemas.Recovery]:
    """Return what each product keeps of deleted mail."""
    return [read(path, schemas.Recovery) for path in files("recoverability")]


def sources() -> list[schemas.Source]:
    """Return every source, the most specific first."""
    found = [read(path, schemas.Source) for path in files("sources")]
    return sorted(found, key=lambda source: (-source.priority, source.id))


@cache
def mappings() -> dict[str, schemas.Mapping]:
    """Return every mapping by id."""
    return {item.id: item for item in (read(path, schemas.Mapping) for path in files("mappings"))}


def digest(*folders: Path) -> str:
    """Return the SHA-256 over names and bytes of all content files and the given rule folders."""
    # Names as text: a thousand Path objects, sorted and taken apart, would take longer than reading the files.
    root = str(CONTENT)
    shipped = [
        (folder[len(root) + 1 :].replace(os.sep, "/") + "/").lstrip("/") + name
        for folder, _, names in os.walk(root)
        for name in names
        if name.endswith((".yaml", ".csv"))
    ]
    total = hashlib.sha256()
    for name in sorted(shipped, key=lambda name: name.split("/")):
        with open(f"{root}/{name}", "rb") as handle:  # noqa: PTH123 - as above
            total.update(name.encode() + b"\0" + hashlib.sha256(handle.read()).digest())
    _add(total, [path for folder in folders for path in _rule_files(folder)])
    return total.hexdigest()


def tables_digest() -> str:
    """Return the SHA-256 over the table schemas: translations depend on them."""
    total = hashlib.sha256()
    _add(total, sorted((CONTENT / "tables").glob("*.yaml")))
    return total.hexdigest()


def _add(total: hashlib._Hash, paths: list[Path]) -> None:
    for path in paths:
        name = path.relative_to(CONTENT).as_posix() if path.is_relative_to(CONTENT) else path.name
        total.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
