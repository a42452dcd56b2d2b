"""Turn a scenario into evidence files: steps become records, records become the files of their feeds."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from collections import defaultdict
from typing import Any, Literal

import msgspec

from mailwitness.errors import ContentError
from mailwitness.scenarios import description
from mailwitness.scenarios.description import Dialect, Expectation, Scenario, Side, Step, Values
from mailwitness.scenarios.filling import Filler

_SPAN = re.compile(r"(-?\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_RESERVED = {"at", "after", "record", "repeat", "every", "label"}
DOMAIN = "contoso.example"


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one variant of a scenario.

    Attributes:
        name: ``id``, ``id.variant``, ``id.twin`` or ``id.variant.twin``.
        tag: makes its people and hosts different from those of other instances in one case; empty for the plain names.
        start: UTC, naive.
    """

    name: str
    scenario: Scenario
    variant: str
    is_twin: bool
    tag: str = ""
    start: dt.datetime

    @property
    def side(self) -> Side:
        """The side that is told, with what its variant says differently."""
        side = self.scenario.twin if self.is_twin else self.scenario.attack
        own = self.scenario.variants.get(self.variant, {})
        steps = own.get("twin_steps" if self.is_twin else "steps", side.steps)
        wanted = own.get("twin_expect" if self.is_twin else "expect", {})
        expect = msgspec.convert({**msgspec.to_builtins(side.expect), **wanted}, Expectation)
        return msgspec.structs.replace(side, steps=steps, expect=expect)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The records of an instance.

    Attributes:
        records: feed and dialect -> (time, record), unsorted.
        labels: label of a step -> time of its first record.
        sources: label of a step -> ids of the sources that its records are written for.
        first: time of the earliest record.
        last: time of the latest record.
        values: what names mean, for the expectation.
    """

    records: dict[tuple[str, str], list[tuple[dt.datetime, Any]]]
    labels: dict[str, dt.datetime]
    sources: dict[str, set[str]]
    first: dt.datetime
    last: dt.datetime
    values: Values


def instances(tag: str = "", start: dt.datetime | None = None) -> dict[str, Instance]:
    """Return every instance of every scenario by name."""
    found: dict[str, Instance] = {}
    for scenario in description.scenarios().values():
        begin = start or dt.datetime.fromisoformat(scenario.start)
        for number, variant in enumerate([*scenario.variants] or [""]):
            # One twin stands for all variants, unless each has its own.
            sides = (False, True) if number == 0 or scenario.variant_twins else (False,)
            for is_twin in sides:
                name = ".".join(part for part in (scenario.id, variant, "twin" if is_twin else "") if part)
                found[name] = Instance(
                    name=name, scenario=scenario, variant=variant, is_twin=is_twin, tag=tag, start=begin
                )
    return found


def span(text: str) -> dt.timedelta:
    """Return a length of time: ``90s``, ``1h30m``, ``-2d``.

    Raises:
        ContentError: it is none.
    """
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ContentError(f"{text!r} is no length of time", place="step", remedy="Write it like 1h30m.")
    return dt.timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def tell(instance: Instance) -> Told:
    """Return the records of an instance with its background.

    Raises:
        ContentError: a step names no template, or a placeholder has no value.
    """
    scenario, side = instance.scenario, instance.side
    values = _values(instance)
    records: dict[tuple[str, str], list[tuple[dt.datetime, Any]]] = defaultdict(list)
    labels: dict[str, dt.datetime] = {}
    sources: dict[str, set[str]] = defaultdict(set)
    own: list[dt.datetime] = []
    everyday = [step for name in scenario.background for step in description.backgrounds()[name]]
    for steps, is_own in ((everyday, False), (side.steps, True)):
        seed = f"{scenario.id}|{instance.variant}|{side.name if is_own else 'background'}|{instance.tag}"
        # The scenario's own words must not get into other people's everyday work.
        known = values if is_own else _people(instance)
        filler = Filler(known, seed)
        before = instance.start
        for place, step in enumerate(steps):
            times = list(_times(step, instance.start, before, filler))
            before = times[-1]
            if is_own:
                own += times
            if step.get("label"):
                labels.setdefault(step["label"], times[0])
            for number, time in enumerate(times, 1):
                filler = Filler({**known, "n": number}, seed, record=f"{place}.{number}")
                sources[step.get("label", "")] |= _add(records, step, filler, time, scenario)
    return Told(
        records=dict(records),
        labels=labels,
        sources=dict(sources),
        first=min(own),
        last=max(own),
        values=values,
    )


def _times(step: Step, start: dt.datetime, before: dt.datetime, filler: Filler) -> list[dt.datetime]:
    since, length = (start, step["at"]) if "at" in step else (before, step.get("after", "0s"))
    first = since + span(filler.fill(length))
    every = span(step.get("every", "1s"))
    return [first + every * number for number in range(int(filler.fill(step.get("repeat", 1))))]


def _people(instance: Instance) -> Values:
    """Return everybody and everything that is called differently in each instance."""
    cast = {role: person(key, instance.tag) for role, key in instance.scenario.cast.items()}
    return {"domain": DOMAIN, "tag": instance.tag, "host_number": instance.tag or "7", **cast}


def _values(instance: Instance) -> Values:
    scenario = instance.scenario
    return {
        **_people(instance),
        **scenario.values,
        **scenario.variants.get(instance.variant, {}),
        **instance.side.values,
    }


def person(key: str, tag: str) -> Values:
    """Return a person's names in every directory.

    Raises:
        ContentError: nobody is called so.
    """
    known = description.cast().get(key)
    if known is None:
        raise ContentError(
            f"nobody is called {key!r}", place="_cast.yaml", remedy="Add the person or correct the name."
        )
    name = f"{key}{tag}"
    return {
        "name": name,
        "upn": f"{name}@{DOMAIN}",
        "display": f"{known['display']}{' ' + tag if tag else ''}",
        "canonical": f"{DOMAIN}/Users/{name}",
        "domain_name": f"CONTOSO\\{name}",
        "home": f"/home/{name}",
        **{field: value for field, value in known.items() if field != "display"},
        "sid": f"{known['sid']}{tag}",
    }


def _add(
    records: dict[tuple[str, str], list[tuple[dt.datetime, Any]]],
    step: Step,
    filler: Filler,
    time: dt.datetime,
    scenario: Scenario,
) -> set[str]:
    """Write the record of a step, or of each part of its template; return the sources that read it."""
    name = step["record"]
    template = description.templates().get(name)
    if template is None:
        raise ContentError(
            f"there is no record template {name!r}", place=scenario.id, remedy="Correct the step."
        )
    # "operation: '{operation}'" means what the scenario says, which the template sees without being told.
    own = {key: value for key, value in step.items() if key not in _RESERVED and value != f"{{{key}}}"}
    if template.parts:
        parts = ({**template.values, **own, "record": part} for part in template.parts)
        return set().union(*(_add(records, part, filler, time, scenario) for part in parts))
    known = filler.values
    filler.values = {**template.values, **known, **own, "at": time}
    record = filler.fill(template.record)
    filler.values = known
    feed = description.feeds()[template.feed]
    dialect = scenario.formats.get(template.feed) or feed.default
    records[template.feed, dialect].append((time, record))
    return {feed.dialects[dialect].source}


def filled(instance: Instance, told: Told) -> Expectation:
    """Return an instance's expectation with its names filled in."""
    wanted = Filler(told.values, instance.name).fill(msgspec.to_builtins(instance.side.expect))
    return msgspec.convert(wanted, Expectation)


def files(told: list[Told]) -> dict[str, bytes]:
    """Return name -> bytes of the evidence files of one or several instances.

    Raises:
        ContentError: a feed has no such dialect.
    """
    together: dict[tuple[str, str], list[tuple[dt.datetime, Any]]] = defaultdict(list)
    for one in told:
        for key, records in one.records.items():
            together[key] += records
    found: dict[str, bytes] = {}
    for (feed, name), records in sorted(together.items()):
        dialect = description.feeds()[feed].dialects.get(name)
        if dialect is None:
            raise ContentError(
                f"{feed} has no dialect {name!r}", place="_files.yaml", remedy="Correct the scenario."
            )
        ordered = [record for _, record in sorted(records, key=lambda item: item[0])]
        found[dialect.name] = _written(dialect, ordered[::-1] if dialect.newest_first else ordered)
    return found


def _written(dialect: Dialect, records: list[Any]) -> bytes:
    if dialect.form == "text":
        return (
            dialect.prologue + "".join(f"{record.rstrip()}\n" for record in records) + dialect.epilogue
        ).encode()
    if dialect.form == "csv":
        return _csv(dialect, records)
    shaped = [_shaped(dialect.shape, record) if dialect.shape is not None else record for record in records]
    lines = [json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in shaped]
    if dialect.form == "json_lines":
        return "".join(f"{line}\n" for line in lines).encode()
    return ("[" + ",\n".join(lines) + "]\n").encode()


def _csv(dialect: Dialect, records: list[Any]) -> bytes:
    text = io.StringIO()
    text.write(dialect.prologue)
    # The type of the parameter is a set of numbers, not int, so the choice is written out.
    quoting: Literal[0, 1] = 1 if dialect.quote_all else 0
    writer = csv.writer(text, lineterminator="\r\n", quoting=quoting)
    writer.writerow(dialect.columns)
    for record in records:
        writer.writerow(_shaped(cell, record) for cell in dialect.columns.values())
    return text.getvalue().encode()


def _shaped(shape: Any, record: Any) -> Any:  # noqa: ANN401 - JSON structures
    """Return a dialect's shape over a record; what the record does not have is empty."""
    filled = Filler({"record": _Whole(record)}, "shape", is_final=True).fill(shape)
    return "" if not isinstance(filled, (str, int, float, dict, list)) else filled


class _Whole(dict):  # type: ignore[type-arg]
    """A record whose absent members are empty texts: exporters leave such cells empty."""

    def get(self, key: str, default: Any = "") -> Any:  # noqa: ANN401, ARG002 - the default of a dictionary is replaced
        """Return a member, or the empty text."""
        return super().get(key, "")
