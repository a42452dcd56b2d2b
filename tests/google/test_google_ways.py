"""Google's activities give the same rows record by record and through SQL, as large files are read."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.readers import google_flat

from ..case_runs import Record
from ..engine.cases import loaded, through
from .test_google_activities import activity, leaf, mail, message

TABLE = "GoogleWorkspaceReports"
COLUMNS = st.sampled_from(
    [
        *(
            "actor.email",
            "actor.profileId",
            "id.uniqueQualifier",
            "ipAddress",
            "type",
            "USER_EMAIL",
            "scope.0",
        ),
        *("scope.1", "event", "networkInfo.regionCode", "actor.applicationInfo.oauthClientId", "id_time_x"),
        *("etag", "event.type", 'a"b', "ü;"),
    ]
)
CELLS = st.sampled_from(["", "x", 'a "quoted", text', "line\nbreak", "ü😀", "\\", "{}", " "])


def rows_of(content: bytes, way: str) -> tuple[list[Record], tuple[int, int, int, int]]:
    """Return the stored rows and the counts."""
    with through(way), loaded(content) as found:
        return sorted(found.rows(TABLE), key=str), found.counts()


def table(columns: list[str], rows: list[list[str]]) -> bytes:
    """Write a table as GAM does."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id.time", "id.applicationName", "name", *columns])
    writer.writerows(rows)
    return text.getvalue().encode()


@given(st.lists(COLUMNS, max_size=8, unique=True), st.data())
@settings(max_examples=25, deadline=None)
def test_tables(columns: list[str], data: st.DataObject) -> None:
    """Cells go to the same places, in the same order, and rows that name no application stay in quarantine."""
    width = len(columns)
    cells = st.lists(CELLS, min_size=width, max_size=width)
    first = st.sampled_from(["2026-03-02T08:41:13Z", ""])
    row = st.builds(
        lambda time, app, rest: [time, app, app.upper(), *rest], first, st.sampled_from(["admin", ""]), cells
    )
    content = table(columns, data.draw(st.lists(row, min_size=1, max_size=4)))
    assert rows_of(content, "sql") == rows_of(content, "python")


def test_most_tables_need_no_python() -> None:
    """The columns of GAM's report of the admin console say where their cells go; mixed ones are left to each row."""
    columns = [
        "name",
        "actor.email",
        "id.applicationName",
        "id.time",
        "ipAddress",
        "type",
        "USER_EMAIL",
        "NEW_VALUE",
    ]
    assert google_flat.layout(columns) is not None
    assert google_flat.layout([*columns, "NEW_VALUE.detail"]) is None
    assert google_flat.layout(["name", "a.b", "c", "a.d"]) is None
    assert google_flat.layout(["actor.email"]) is None


@pytest.mark.parametrize("form", ["lines", "list", "split", "damaged"])
def test_activities(form: str) -> None:
    """Events of one activity, unusual parameters and damage end alike both ways."""
    odd = {
        "name": "delivery",
        "parameters": [{"name": "a"}, leaf("b", value=True), message("m", leaf("n", "x"))],
    }
    records = [
        activity("gmail", mail(27), odd, number=1),
        activity("gmail", odd, number=2),
        activity("login", {"name": "x"}, number=3),
    ]
    if form == "split":
        records = [one | {"events": one["events"][0]} for one in records]
    content = "\n".join(json.dumps(one) for one in records).encode()
    if form == "list":
        content = json.dumps({"kind": "admin#reports#activities", "items": records}, indent=1).encode()
    if form == "damaged":
        content = content.replace(b'"x"}]', b'"x"').replace(b'"login"', b'"log\xff\xfein"')
    assert rows_of(content, "sql") == rows_of(content, "python")
