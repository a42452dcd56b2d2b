"""Parameters become the same bag whether SQL rewrites their text or Python walks through them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness import google_bag, tables

from .test_google_activities import leaf, message

if TYPE_CHECKING:
    import duckdb

# Text that looks like the words which the replacement takes away, and like the brackets around them.
WORDS = st.sampled_from(
    ['},{"name":', ',"value":', "]}}", "}]}]}", '"', "\\", "\x01", '{"name":"x"}]}}', "ü 😀", ""]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=4).map("".join)
VALUES = st.one_of(TEXTS, st.booleans(), st.integers(), st.lists(TEXTS, max_size=3))
LEAVES = st.builds(leaf, TEXTS, VALUES)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:  # Any: parameters
    lists = st.lists(inner, min_size=1, max_size=3)
    many = st.lists(lists, min_size=1, max_size=3).map(lambda found: [{"parameter": one} for one in found])
    return st.one_of(
        st.builds(lambda name, found: message(name, *found), TEXTS, lists),
        st.builds(lambda name, found: {"name": name, "multiMessageValue": found}, TEXTS, many),
    )


PARAMETERS = st.lists(st.recursive(LEAVES, _nested, max_leaves=8), max_size=4)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """Return a database with the macros."""
    return tables.connect(memory="200MB", threads=1, temporary=Path(tmp_path_factory.mktemp("bag")))


def _asked(database: duckdb.DuckDBPyConnection, macro: str, text: str) -> Any:
    # The database writes JSON without blanks, as it does when it reads a file.
    found = database.execute(f"SELECT {macro}(CAST(json($1) AS VARCHAR))", [text]).fetchall()[0][0]
    return None if found is None else json.loads(found)


@given(PARAMETERS)
@settings(max_examples=150, deadline=None)
def test_both_ways_agree(database: duckdb.DuckDBPyConnection, parameters: list[Any]) -> None:
    """The usual form is rewritten, deeper ones are left to Python, and no text can make one mean something else."""
    text = json.dumps(parameters)
    walked = json.loads(google_bag.nested(text))
    quick = _asked(database, "mw_google_quick", text)
    assert quick is None or quick == walked
    assert _asked(database, "mw_google_bag", text) == walked


TYPES = st.builds(
    lambda kind, value: {"name": "mail_event_type", kind: value},
    st.sampled_from(["intValue", "value"]),
    st.sampled_from(["27", "1", 27, "x", '27"}', "27\\", "", "123456789012345"]),
)


@given(st.lists(st.one_of(TYPES, LEAVES), max_size=4), PARAMETERS, st.sampled_from(["event_info", "other"]))
@settings(max_examples=150, deadline=None)
def test_the_number_of_an_event_is_that_of_its_bag(
    database: duckdb.DuckDBPyConnection, info: list[Any], behind: list[Any], name: str
) -> None:
    """The number is read from the beginning of the text only where the bag has the same one."""
    text = json.dumps([message(name, *info), *behind])
    asked = (
        "SELECT mw_google_mail_type(j), json_extract_string(mw_google_bag(j), '$.event_info.mail_event_type') FROM "
        "(SELECT CAST(json($1) AS VARCHAR)::JSON AS j)"
    )
    quick, slow = database.execute(asked, [text]).fetchall()[0]
    assert quick in {None, slow}


def test_gmail_goes_the_quick_way(database: duckdb.DuckDBPyConnection) -> None:
    """Four levels and lists of messages, as Gmail's log has them, need no Python."""
    context = message(
        "client_context", message("session_context", leaf("dusi", "d")), leaf("client_type", "WEB")
    )
    many = {"name": "destination", "multiMessageValue": [{"parameter": [leaf("address", "a")]}] * 2}
    parameters = [
        message("event_info", leaf("success", value=True), context),
        message("message_info", many, leaf("l", ["x"])),
    ]
    found = _asked(database, "mw_google_quick", json.dumps(parameters))
    assert found["event_info"] == {
        "success": True,
        "client_context": {"session_context": {"dusi": "d"}, "client_type": "WEB"},
    }
    assert found["message_info"] == {"destination": [{"address": "a"}, {"address": "a"}], "l": ["x"]}


@pytest.mark.parametrize(
    ("parameters", "bag"),
    [
        ([], {}),
        ([{"name": "a"}, leaf("b", value=True)], {"a": "", "b": "true"}),
        ([{"value": "x", "name": "a"}, {"name": "n", "intValue": 5}], {"a": "x", "n": "5"}),
        ([{"name": "m", "messageValue": {"parameter": []}}], {"m": {}}),
        ([{"name": "m", "multiMessageValue": []}], {"m": []}),
        ([3, "x", None], {}),
    ],
)
def test_unusual_parameters(database: duckdb.DuckDBPyConnection, parameters: list[Any], bag: Any) -> None:
    """A parameter without a value, or with the value before the name, loses nothing beside it."""
    assert _asked(database, "mw_google_quick", json.dumps(parameters)) is None
    assert _asked(database, "mw_google_bag", json.dumps(parameters)) == bag


def test_depth_is_bounded() -> None:
    """Nesting beyond what can be walked through is no bag, and no error."""
    text = '[{"name":"a","messageValue":{"parameter":' * 5000 + "[]" + "}}]" * 5000
    assert google_bag.nested(text) == ""
    assert google_bag.nested("{") == ""
