"""Promises of what is taken out of records: no key that a stored column needs is left out."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pyarrow as pa
import pytest

from mailwitness.content import loader
from mailwitness.row_select import derived_columns, raw_keys
from mailwitness.tables import connect

# What stands between names and values in the text that is made a bag, and what ends a text.
_PARTS = ("", "a", '"', "\\", '},{"Name":', '[{"Name":', ',"Value":', "}]", "],", "null", "\n", "é\u2028")


@pytest.mark.parametrize(
    ("stored", "needed"),
    [
        # A key that SQL has to quote, because it is a word of SQL.
        ("Name", {"Name", "Case"}),
        ("ClientAddress", {"ClientIPAddress", "ClientIP", "ActorIpAddress", "ActorIP"}),
        # Derived from columns that are not stored themselves.
        ("FolderPath", {"Folder", "Item", "AffectedItems"}),
    ],
)
def test_the_keys_behind_a_stored_column_are_read(stored: str, needed: set[str]) -> None:
    mapping = loader.mappings()["unified_audit"]

    found = raw_keys(mapping, {stored})

    # What makes a record sound, and what says whether its nested values are kept, is read whatever is stored.
    assert needed | {"Operation", "Id", "Workload"} == found


def test_parameters_are_the_same_bag_by_the_quick_and_by_the_general_way(tmp_path: Path) -> None:
    pairs = [{"Name": name, "Value": value} for name, value in itertools.product(_PARTS, repeat=2)]
    lists: list[list[object]] = [[one, other] for one, other in itertools.pairwise(pairs)]
    lists += [[], [{}], [pairs[1], None], [{"name": "a", "value": "b"}], [{"Value": "b", "Other": 1}], ["a"]]
    texts = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in lists] + ["[{", "-A b", ""]
    sql = derived_columns("OfficeActivity")
    with connect(memory="1GB", threads=1, temporary=tmp_path) as connection:
        connection.register("given", pa.table({"Parameters": texts}))
        rows = connection.execute(
            f"SELECT Parameters, mw_parameters, ({sql['ParametersBag']})::VARCHAR, mw_bag(Parameters)::VARCHAR "
            f"FROM (SELECT *, {sql['mw_parameters']} AS mw_parameters FROM given)"
        ).fetchall()

    assert [row for row in rows if row[2] != row[3]] == []
    assert sum("null" not in (row[1] or "null") for row in rows) > len(pairs) // 2
