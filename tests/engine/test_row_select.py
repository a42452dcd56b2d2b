"""Promises of what is taken out of records: no key that a stored column needs is left out, no text is believed too early."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mailwitness.content import loader
from mailwitness.row_select import raw_keys
from mailwitness.sources.table_files import looks_whole


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


def test_a_text_that_is_cut_off_or_has_control_characters_does_not_look_whole() -> None:
    texts = pa.array(['{"a":1}', "", '{"a":', 'x{"a":1}', '{"a":"\x01"}', "{}", "}", '{"a":"\n"}', '{"é":1}'])

    assert looks_whole(texts).tolist() == [True, False, False, False, False, True, False, False, True]
    assert looks_whole(texts.slice(5, 2)).tolist() == [True, False]
    assert looks_whole(texts.slice(1, 1)).tolist() == [False]
    assert looks_whole(texts.slice(0, 0)).tolist() == []
