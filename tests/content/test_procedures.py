"""Every known way of clearing is tied to the rules that find it, or to the reason why none does."""

from __future__ import annotations

from typing import Any

import pytest

from mailwitness.content import loader
from mailwitness.scenarios import description

Row = dict[str, Any]  # Any: cells of the table
ROWS: list[Row] = loader.read_yaml(loader.CONTENT / "attack" / "procedures.yaml")


@pytest.mark.parametrize("row", ROWS, ids=[str(row["id"]) for row in ROWS])
def test_a_procedure_is_found_or_its_gap_has_a_reason(row: Row) -> None:
    files = [loader.CONTENT / "rules" / f"{name}.yaml" for name in row["rules"]]
    files += [loader.CONTENT / "chains" / f"{name}.yaml" for name in row.get("chains", [])]

    assert [path.name for path in files if not path.is_file()] == []
    assert files or len(row.get("gap", "")) > len("no reason")
    assert row["platforms"]
    assert row["text"]


def test_every_item_of_the_catalogue_stands_in_the_table_once() -> None:
    listed = [row["id"] for row in ROWS]
    # Chains and known causes are no ways of clearing; the scenarios that show them name them.
    ways = {name for name, item in description.catalogue().items() if item.kind not in {"chain", "excuse"}}

    assert len(listed) == len(set(listed))
    assert set(listed) == ways
