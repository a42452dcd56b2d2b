"""Further tables of the same records: types as the database reads them, and one scan for all."""

from __future__ import annotations

import json

import pytest

from mailwitness.content import loader
from mailwitness.sources import also_tables

from ..engine.cases import loaded


def test_a_type_is_written_as_a_structure() -> None:
    kind = 'STRUCT(a VARCHAR, "User" VARCHAR, b STRUCT(c BIGINT)[], d VARCHAR[])'

    assert also_tables.structure(kind) == {
        "a": "VARCHAR",
        "User": "VARCHAR",
        "b": [{"c": "BIGINT"}],
        "d": ["VARCHAR"],
    }
    with pytest.raises(ValueError, match="cannot read"):
        also_tables.structure("VARCHAR, VARCHAR")


def test_every_further_table_can_be_made_of_what_is_carried() -> None:
    mappings = loader.mappings()
    pairs = [
        (mappings[source.mapping], mappings[name]) for source in loader.sources() for name in source.also
    ]

    assert pairs
    for mapping, further in pairs:
        known = also_tables.together(mapping, [further]).raw
        changed = [key for key, kind in further.raw.items() if known[key] != kind]
        assert all(known[key] == "JSON" and also_tables.structure(further.raw[key]) for key in changed)
        # What decides whether a record is looked at must not need what is only parsed then.
        assert not changed or further.first or not any(f"{key}." in further.accept for key in changed)


def test_a_record_is_a_row_of_each_table_it_belongs_to() -> None:
    process = {"executable": {"path": "/bin/zsh"}, "audit_token": {"pid": 7}}
    events = [
        {"unlink": {"target": {"path": "/private/var/a"}}},
        {"exec": {"target": {"executable": {"path": "/bin/rm"}}, "args": ["rm", "a b"]}},
        {"fork": {"child": {}}},
        {"unlink": "no object"},
    ]
    lines = [
        json.dumps({"time": "2026-03-02T09:14:01Z", "seq_num": number, "process": process, "event": event})
        for number, event in enumerate(events)
    ]

    with loaded("\n".join(lines).encode()) as case:
        names = [row["ActionType"] for row in case.rows("DeviceEvents")]
        files = [(row["FolderPath"], row["_Position"]) for row in case.rows("DeviceFileEvents")]
        started = [(row["ProcessCommandLine"], row["_Position"]) for row in case.rows("DeviceProcessEvents")]

    assert (names, files, started) == (
        ["unlink", "exec", "fork", "unlink"],
        [("/var/a", 0)],
        [("rm 'a b'", 1)],
    )
