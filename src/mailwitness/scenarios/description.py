"""What a scenario file says: who takes part, what is done when, and what must be found."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from mailwitness.content import loader
from mailwitness.content.schemas import Severity
from mailwitness.errors import ContentError

FOLDER = loader.CONTENT / "scenarios"
DEFAULT_START = "2026-03-02T09:00:00"

Step = dict[str, Any]  # Any: values of a record template as written in YAML
Values = dict[str, Any]  # Any: named values, texts with placeholders among them


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run must say.

    Attributes:
        actor: who must be named, with placeholders.
        mailbox: which mailbox must be named; empty when no single one is meant.
        host: computer that must be named.
        techniques: each must be among the case's techniques.
        order: labels of steps that must support the case, in this order.
        severity: an attack's least, a twin's greatest severity.
        chains: names of chains, each of which the case must have matched.
        explained: an explanation, by its file, that must hold for a finding of a twin; empty when nothing need be found at all.
    """

    actor: str = ""
    mailbox: str = ""
    host: str = ""
    techniques: list[str] = []
    order: list[str] = []
    severity: Severity = "medium"
    chains: list[str] = []
    explained: str = ""


class Side(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attack, or the innocent work that looks like it.

    Attributes:
        name: what happens, in one sentence.
        steps: acts in the order of the file; ``record`` names a template, ``at`` is the time since the start (``5m``),
            ``after`` the time since the step before; ``repeat`` and ``every`` make several; ``label`` names it for ``order``;
            every other key is a value of the template.
        values: override the scenario's values.
    """

    name: str
    steps: list[Step] = []
    values: Values = {}
    expect: Expectation = Expectation()


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attack with its benign twin.

    Attributes:
        covers: ids of the catalogue that this scenario stands for.
        platform: shown to people and one column of the coverage page.
        cast: role -> person of ``_cast.yaml``.
        formats: feed -> dialect of ``_files.yaml``, where not the default.
        values: named values for the steps.
        variants: name -> values; each variant is a scenario of its own, ``id.variant``. The value ``steps`` replaces the
            attack's steps, ``twin_steps`` the twin's, ``expect`` and ``twin_expect`` some of what they expect.
        variant_twins: every variant has its own twin; else one twin, with the first variant's values, stands for all.
        variant_covers: variant -> further ids of the catalogue.
        background: names of lists in ``_background.yaml``.
        start: UTC time of the first step.
        attack: what must be found.
        twin: what must not be held against anybody.
    """

    id: str
    name: str
    platform: Literal["ExchangeOnline", "Exchange", "GoogleWorkspace", "Linux", "macOS", "Windows"]
    covers: list[str]
    cast: dict[str, str]
    attack: Side
    twin: Side
    formats: dict[str, str] = {}
    values: Values = {}
    variants: dict[str, Values] = {}
    variant_covers: dict[str, list[str]] = {}
    variant_twins: bool = False
    background: list[str] = []
    start: str = DEFAULT_START


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record as a product writes it, with placeholders.

    Attributes:
        feed: which evidence file it goes to.
        base: template whose record and values are taken first.
        values: defaults for what a step leaves out.
        record: the record; text for formats of lines. A member with the value ``{name?}`` is left out when there is no such value.
        parts: templates written one after the other instead of a record.
    """

    feed: str = ""
    base: str = ""
    values: Values = {}
    record: Any = None  # Any: a JSON structure or text
    parts: list[str] = []


class Dialect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file as a product or exporter writes it.

    Attributes:
        name: of the file.
        form: how records follow each other.
        columns: CSV column -> text over ``{record}`` (the record as JSON) and ``{record.Key}``.
        quote_all: every CSV cell stands in quotes.
        shape: structure that wraps a record, over the same names.
        prologue: text before the first record.
        epilogue: text after the last record.
        newest_first: exporters that list backwards.
        source: id of the source that must recognise the file.
    """

    name: str
    form: Literal["json_lines", "json_array", "csv", "text"]
    source: str
    columns: dict[str, str] = {}
    quote_all: bool = False
    shape: Any = None  # Any: a JSON structure
    prologue: str = ""
    epilogue: str = ""
    newest_first: bool = False


class Feed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One log of a product with the dialects it reaches us in."""

    default: str
    dialects: dict[str, Dialect]


class CatalogueItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that must be found (a procedure, an evasion, a chain ...), or an excuse that must hold for the innocent alone."""

    id: str
    kind: Literal[
        "procedure",
        "atomic",
        "related_atomic",
        "action",
        "hole",
        "evasion",
        "pair",
        "analytic",
        "chain",
        "excuse",
    ]
    name: str
    reference: str = ""


def _read(name: str, kind: Any) -> Any:  # noqa: ANN401 - a type, and a value of it
    path = FOLDER / name
    try:
        return msgspec.convert(loader.read_yaml(path), kind, strict=False)
    except msgspec.ValidationError as error:
        raise ContentError(str(error), place=str(path), remedy="Correct the file.") from error


@cache
def scenarios() -> dict[str, Scenario]:
    """Return all scenario files by id.

    Raises:
        ContentError: a file is wrong, or its id is not its name.
    """
    found: dict[str, Scenario] = {}
    for path in loader.files("scenarios"):
        item = loader.read(path, Scenario)
        if item.id != path.stem:
            raise ContentError(f"the id is {item.id!r}", place=str(path), remedy="Name it like its file.")
        found[item.id] = item
    return found


@cache
def templates() -> dict[str, Template]:
    """Return all record templates by name, bases applied.

    Raises:
        ContentError: a name occurs twice or a base is missing.
    """
    raw: dict[str, Template] = {}
    for path in sorted(FOLDER.glob("_records_*.yaml")):
        for name, item in _read(path.name, dict[str, Template]).items():
            if name in raw:
                raise ContentError(f"{name!r} occurs twice", place=str(path), remedy="Rename one of them.")
            raw[name] = item
    return {name: _with_base(name, raw, ()) for name in raw}


def _with_base(name: str, raw: dict[str, Template], seen: tuple[str, ...]) -> Template:
    if name in seen or name not in raw:
        raise ContentError(
            f"there is no record template {name!r}", place=str(FOLDER), remedy="Correct its base."
        )
    item = raw[name]
    if not item.base:
        return item
    base = _with_base(item.base, raw, (*seen, name))
    record = (
        {**base.record, **(item.record or {})}
        if isinstance(base.record, dict)
        else item.record or base.record
    )
    return msgspec.structs.replace(
        item, feed=item.feed or base.feed, values={**base.values, **item.values}, record=record
    )


@cache
def feeds() -> dict[str, Feed]:
    """Return the logs that can be written."""
    found: dict[str, Feed] = _read("_files.yaml", dict[str, Feed])
    return found


@cache
def cast() -> dict[str, Values]:
    """Return the people, by key."""
    found: dict[str, Values] = _read("_cast.yaml", dict[str, Values])
    return found


@cache
def backgrounds() -> dict[str, list[Step]]:
    """Return lists of everyday steps, by name."""
    found: dict[str, list[Step]] = _read("_background.yaml", dict[str, list[Step]])
    return found


@cache
def catalogue() -> dict[str, CatalogueItem]:
    """Return what must be covered, by id, in the order of the file.

    Raises:
        ContentError: an id occurs twice.
    """
    items: list[CatalogueItem] = _read("_catalogue.yaml", list[CatalogueItem])
    found = {item.id: item for item in items}
    if len(found) != len(items):
        raise ContentError(
            "an id occurs twice", place=str(FOLDER / "_catalogue.yaml"), remedy="Give each its own."
        )
    return found


@cache
def known_gaps() -> dict[str, str]:
    """Return instances that are not judged right yet, with the reason; a test fails when one is no longer true."""
    path: Path = FOLDER / "_known_gaps.yaml"
    found: dict[str, str] = (_read(path.name, dict[str, str]) or {}) if path.exists() else {}
    return found
