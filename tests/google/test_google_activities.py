"""Google Workspace: every shape of an activity ends as one row for each event, and nothing is lost."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.readers import bigquery_rows, google_flat

from ..case_runs import PUBLIC, Record, Told, acts, run, run_paths


def leaf(name: str, value: object) -> Record:
    """Return a parameter with its value under the name of its type."""
    kind = (
        "boolValue"
        if isinstance(value, bool)
        else "intValue"
        if isinstance(value, int)
        else "multiValue"
        if isinstance(value, list)
        else "value"
    )
    return {"name": name, kind: str(value) if kind == "intValue" else value}


def message(name: str, *parameters: Record) -> Record:
    """Return a parameter that nests others."""
    return {"name": name, "messageValue": {"parameter": list(parameters)}}


def activity(
    application: str, *events: Record, number: int = 1, actor: str = "eva@contoso.example"
) -> Record:
    """Return an activity as activities.list gives it."""
    return {
        "kind": "admin#reports#activity",
        "id": {
            "time": "2026-03-02T08:41:13.201Z",
            "uniqueQualifier": str(-7300 - number),
            "applicationName": application,
            "customerId": "C0123",
        },
        "actor": {"email": actor, "profileId": "118"},
        "ipAddress": "203.0.113.7",
        "events": list(events),
    }


def mail(number: int, *session: Record) -> Record:
    """Return a Gmail event by its number."""
    context = message("client_context", leaf("client_type", "WEB"), message("session_context", *session))
    return {
        "type": "delivery_type",
        "name": "delivery",
        "parameters": [
            message("event_info", leaf("mail_event_type", number), leaf("success", value=True), context),
            message(
                "message_info",
                leaf("rfc2822_message_id", "<a@fabrikam.example>"),
                leaf("subject", 'Say "hello", {eva}'),
                {
                    "name": "destination",
                    "multiMessageValue": [{"parameter": [leaf("address", "eva@contoso.example")]}],
                },
            ),
        ],
    }


def setting(name: str, *parameters: Record) -> Record:
    """Return an event of the admin console."""
    return {"type": "EMAIL_SETTINGS", "name": name, "parameters": list(parameters)}


MAIL_EVENTS = {
    1: "Sent",
    2: "Delivered",
    11: "Sent",
    13: "MovedToDeletedItems",
    14: "Updated",
    27: "HardDeleted",
    31: "Read",
    33: "Read",
    34: "PermissionGranted",
}


def every_shape() -> dict[str, str | bytes]:
    """Return files that say the same: list reply, single activity, collector split, flattened, GAM CSV and BigQuery rows."""
    event = setting(
        "DELETE_MAILBOX_DUMP", leaf("USER_EMAIL", "eva@contoso.example"), leaf("REQUEST_ID", "77")
    )
    one = activity("admin", event, actor="admin@contoso.example")
    flat = {key: value for key, value in one.items() if key != "events"} | {
        "name": event["name"],
        "type": event["type"],
        "parameters": {"USER_EMAIL": "eva@contoso.example", "REQUEST_ID": "77"},
    }
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(
        [
            "name",
            "actor.email",
            "id.applicationName",
            "id.time",
            "id.uniqueQualifier",
            "ipAddress",
            "type",
            "USER_EMAIL",
            "REQUEST_ID",
        ]
    )
    writer.writerow(
        [
            event["name"],
            "admin@contoso.example",
            "admin",
            "2026-03-02T08:41:13.201Z",
            "-7306",
            "203.0.113.7",
            event["type"],
            "eva@contoso.example",
            "77",
        ]
    )
    big = {
        "time_usec": "1772440873201000",
        "email": "admin@contoso.example",
        "ip_address": "203.0.113.7",
        "unique_identifier": "-7307",
        "record_type": "admin",
        "event_name": event["name"],
        "event_type": event["type"],
        "admin": {"USER_EMAIL": "eva@contoso.example", "REQUEST_ID": "77"},
    }
    return {
        "1-list.json": json.dumps(
            {
                "kind": "admin#reports#activities",
                "items": [one | {"id": one["id"] | {"uniqueQualifier": "-7302"}}],
                "nextPageToken": "A",
            },
            indent=1,
        ),
        "2-single.json": json.dumps(one | {"id": one["id"] | {"uniqueQualifier": "-7303"}}),
        "3-split.jsonl": json.dumps(one | {"id": one["id"] | {"uniqueQualifier": -7304}, "events": event})
        + "\n",
        "4-flat.jsonl": json.dumps(
            flat | {"id": one["id"] | {"uniqueQualifier": "-7305", "time": "2026-03-02 08:41:13.201000000"}}
        )
        + "\n",
        "5-gam.csv": table.getvalue(),
        "6-bigquery.jsonl": json.dumps(big) + "\n",
    }


def several_events() -> str:
    """Return the same activity with three events, twice."""
    several = activity(
        "admin",
        setting("CREATE_GMAIL_SETTING", leaf("USER_DEFINED_SETTING_NAME", ".")),
        setting("CREATE_APPLICATION_SETTING", leaf("APPLICATION_NAME", "Gmail")),
        setting("DROP_FROM_QUARANTINE"),
        number=1000,
        actor="admin@contoso.example",
    )
    return json.dumps([several, several])


def mail_events() -> str:
    """Return one activity for each number of a Gmail event."""
    session = leaf("delegate_user_email", "Mallory@contoso.example")
    records = [activity("gmail", mail(number, session), number=2000 + number) for number in MAIL_EVENTS]
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    pieces: dict[str, dict[str, str | bytes]] = {
        "every shape": every_shape(),
        "several events": {"a.json": several_events()},
        "mail events": {"a.jsonl": mail_events()},
    }
    return Told(tmp_path_factory.mktemp("told"), pieces)


def test_every_shape_of_an_activity_gives_the_same_act(told: Told) -> None:
    """List reply, single activity, collector split, flattened, GAM CSV and BigQuery rows mean the same."""
    rows = told.acts("every shape")

    assert [
        (row["Activity"], row["Actor"], row["ActorType"], row["Mailbox"], row["ObjectName"], row["ClientIP"])
        for row in rows
    ] == [("ExportRemoved", "admin@contoso.example", "Admin", "eva@contoso.example", "77", "203.0.113.7")] * 6
    assert {"2026-03-02T08:41:13"} == {str(row["TimeGenerated"])[:19].replace(" ", "T") for row in rows}


def test_no_event_of_an_activity_is_lost_or_counted_as_a_record(told: Told) -> None:
    """One activity with three events is one record and three rows."""
    intake = told.intake("several events")
    rows = told.acts("several events")

    assert (intake[0]["records"], intake[0]["loaded"], intake[0]["duplicates"]) == (2, 1, 1)
    assert [
        row["Activity"] for row in sorted(rows, key=lambda row: row["Operation"] == "DROP_FROM_QUARANTINE")
    ] == ["TransportRuleCreated", "TransportRuleCreated", "QuarantineDeleted"]
    assert {0} == {row["_Position"] for row in rows}


def test_large_files_load_the_same_rows_as_small_ones(tmp_path: Path) -> None:
    """The path through SQL keeps positions and further events."""
    lines = [
        json.dumps(
            activity("gmail", mail(27), mail(13), number=i)
            if i % 50 == 0
            else activity("gmail", mail(27), number=i)
        )
        for i in range(3000)
    ]

    intake = run(tmp_path, {"a.jsonl": "\n".join(lines) + "\n"})
    rows = acts(tmp_path)

    assert (intake[0]["records"], intake[0]["loaded"]) == (3000, 3000)
    assert {a: sum(row["Activity"] == a for row in rows) for a in ("HardDeleted", "MovedToDeletedItems")} == {
        "HardDeleted": 3000,
        "MovedToDeletedItems": 60,
    }
    assert [i for i in range(3000) if i % 50 == 0] == sorted(
        row["_Position"] for row in rows if row["Activity"] == "MovedToDeletedItems"
    )
    assert {str(-7300 - row["_Position"]) for row in rows} == {row["EventId"] for row in rows}


def test_mail_event_numbers_are_decoded(told: Told) -> None:
    """The number nests four parameters deep; the message keeps its id and subject."""
    rows = told.acts("mail events")

    assert [(one, "<a@fabrikam.example>", 'Say "hello", {eva}') for one in MAIL_EVENTS.values()] == [
        (row["Activity"], row["MessageId"], row["Subject"]) for row in rows
    ]
    assert {row["Actor"] for row in rows if row["Activity"] != "Delivered"} == {"mallory@contoso.example"}


def test_rows_of_the_bigquery_api_get_their_names_back() -> None:
    """Positions, repeated records and a packed address."""
    fields = [
        {"name": "time_usec"},
        {"name": "ip_address"},
        {
            "name": "gmail",
            "fields": [
                {"name": "event_info", "fields": [{"name": "mail_event_type"}]},
                {"name": "to", "mode": "REPEATED", "fields": [{"name": "address"}]},
            ],
        },
    ]
    row = {
        "f": [
            {"v": "1"},
            {"v": "ywBxBw=="},
            {
                "v": {
                    "f": [{"v": {"f": [{"v": "27"}]}}, {"v": [{"v": {"f": [{"v": "eva@contoso.example"}]}}]}]
                }
            },
        ]
    }

    found = bigquery_rows.Preparer().prepare({"row": row, "schema": {"fields": fields}})

    assert found == {
        "time_usec": "1",
        "ip_address": "203.0.113.7",
        "gmail": {"event_info": {"mail_event_type": "27"}, "to": [{"address": "eva@contoso.example"}]},
    }


@pytest.mark.parametrize("folder", ["gws-panther", "elv2/gws-elastic"])
def test_public_samples_load_completely(tmp_path: Path, folder: str) -> None:
    """Nobody else's export ends in quarantine."""
    if not (PUBLIC / folder).is_dir():
        pytest.skip("the public samples are not on this machine")

    intake = run_paths(
        tmp_path, [path for path in (PUBLIC / folder).iterdir() if path.suffix in {".log", ".jsonl"}]
    )

    for row in intake:
        assert (row["records"], 0) == (row["loaded"] + row["duplicates"], row["quarantined"]), row


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=2, deadline=None)
@given(st.lists(JSON, min_size=1, max_size=30), st.data())
def test_hostile_parameters_never_break_a_run(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], data: st.DataObject
) -> None:
    """Whatever stands where parameters, events or ids are expected, records add up."""
    records: list[Record] = []
    for i, value in enumerate(values):
        record = activity("gmail", mail(27), number=i)
        place = data.draw(
            st.sampled_from(["events", "id", "actor", "networkInfo", "parameters", "ipAddress"])
        )
        if place == "parameters":
            record["events"][0]["parameters"] = value
        else:
            record[place] = value
        records.append(record)

    intake = run(tmp_path_factory.mktemp("hostile"), {"a.json": json.dumps(records)}, proof="always")

    assert len(records) == intake[0]["records"] or intake[0]["records"] == 0


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "id.time",
                "id.time.x",
                "id",
                "actor.email",
                "a.b",
                "a",
                "name",
                "type",
                "event_name_s",
                "id_time_t",
                "x..y",
                ".",
            ]
        ),
        JSON,
    )
)
def test_any_flat_row_can_be_nested(row: Record) -> None:
    """A preparer never raises."""
    google_flat.Preparer().prepare(row)


@given(JSON, JSON)
def test_any_row_and_schema_can_be_named(row: object, schema: object) -> None:
    """A preparer never raises."""
    bigquery_rows.Preparer().prepare({"row": row, "schema": schema})
