"""Write a scenario's evidence into a folder, and say what is in it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import msgspec

from mailwitness.errors import ConfigError
from mailwitness.scenarios import description, lint, replay, telling

_LIST_WIDTH = 44


def find(name: str) -> telling.Instance:
    """Return the instance of a name; a scenario's name alone means its first variant.

    Raises:
        ConfigError: there is none.
    """
    known = telling.instances()
    if name in known:
        return known[name]
    twin = name.endswith(".twin")
    near = [
        key
        for key in known
        if key.startswith(name.removesuffix(".twin") + ".") and key.endswith(".twin") == twin
    ]
    if not near:
        raise ConfigError(
            f"there is no scenario {name!r}", remedy="List them with `mailwitness emulate --list`."
        )
    return known[near[0]]


def listed(*, as_json: bool) -> str:
    """Return the list of scenarios with what each stands for."""
    rows = [
        {
            "name": item.name,
            "kind": "benign twin" if item.is_twin else "attack",
            "platform": item.scenario.platform,
            "title": item.side.name if item.is_twin else item.scenario.name,
            "covers": lint.covers(item),
        }
        for item in telling.instances().values()
    ]
    if as_json:
        return json.dumps(rows, indent=1)
    return "\n".join(f"{row['name']:{_LIST_WIDTH}} {row['platform']:16} {row['title']}" for row in rows)


def write(name: str, out: Path, *, start: dt.datetime | None = None) -> list[str]:
    """Write one scenario and return lines for a person.

    Raises:
        ConfigError: there is no such scenario, or the folder is not empty or cannot be written.
    """
    instance = find(name)
    if start is not None:
        instance = msgspec.structs.replace(instance, start=start)
    told = telling.tell(instance)
    try:
        if out.exists() and any(out.iterdir()):
            raise ConfigError(
                f"{out} is not empty", remedy="Name a new folder, so that nothing is mixed or overwritten."
            )
        written = replay.write([told], out / "evidence")
        # Beside the evidence, so that it is never taken for evidence.
        (out / "expected.json").write_text(
            json.dumps(expected(instance, told), indent=1) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror}", remedy="Name another folder."
        ) from error
    lines = [f"{instance.name}: {instance.scenario.name}", f"  {instance.side.name}"]
    lines += [f"  {path.relative_to(out)}  {path.stat().st_size} bytes" for path in written]
    return [*lines, f"Next: mailwitness investigate {out / 'evidence'} --case {out / 'case'}"]


def expected(instance: telling.Instance, told: telling.Told) -> dict[str, object]:
    """Return what an investigation of the evidence must say, for people and for other tools."""
    wanted = telling.filled(instance, told)
    covered = [description.catalogue()[name].name for name in lint.covers(instance)]
    return {
        "scenario": instance.name,
        "kind": "benign twin" if instance.is_twin else "attack",
        "covers": covered,
        "from": told.first.isoformat() + "Z",
        "to": told.last.isoformat() + "Z",
        "steps": {label: time.isoformat() + "Z" for label, time in told.labels.items()},
        "expect": {"at_most": "low, or authorised with the reason"}
        if instance.is_twin
        else msgspec.to_builtins(wanted),
    }
