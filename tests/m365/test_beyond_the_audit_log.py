"""Microsoft 365 beyond the audit log: sign-ins of every kind, directory audit, Graph requests, advanced hunting, purges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..case_runs import PUBLIC, Record, Told, ask, run, run_paths

GRAPH = "https://graph.microsoft.com/v1.0"


def sign_in(number: int, kind: str, **more: object) -> Record:
    """Return a signIn of Microsoft Graph."""
    return {
        "id": str(number),
        "createdDateTime": "2026-03-02T08:12:00Z",
        "userPrincipalName": "Eva@contoso.example",
        "ipAddress": "203.0.113.66",
        "appDisplayName": "Exchange Online",
        "signInEventTypes": [kind],
        "status": {"errorCode": 0},
        **more,
    }


def evidence() -> dict[str, dict[str, str | bytes]]:
    """Return small pieces of evidence that are investigated together."""
    lines = [
        {"time": "2026-03-02T08:12:00Z", "category": "NonInteractiveUserSignInLogs", "properties": sign_in(4, "nonInteractiveUser")},
        {"time": "2026-03-02T08:00:00Z", "category": "AuditLogs", "properties": {"id": "D1", "activityDisplayName": "Consent to application", "activityDateTime": "2026-03-02T08:00:00Z", "initiatedBy": {"user": {"userPrincipalName": "eva@contoso.example"}}, "result": "success"}},
        {"time": "2026-03-02T08:00:00Z", "category": "MicrosoftGraphActivityLogs", "properties": {"requestMethod": "DELETE", "requestUri": f"{GRAPH}/users/7a/messages/AAMk", "responseStatusCode": 204, "appId": "a0b1"}},
    ]  # fmt: skip
    header = "Date (UTC),CorrelationId,Service,Category,Activity,Result,ResultReason,ActorType,ActorDisplayName,ActorObjectId,ActorUserPrincipalName,IPAddress,Target1Type,Target1DisplayName,Target1ObjectId,Target1UserPrincipalName,Target1ModifiedProperty1Name,Target1ModifiedProperty1OldValue,Target1ModifiedProperty1NewValue"
    portal = "2026-03-02T08:00:00Z,c1,Core Directory,UserManagement,Reset user password,success,,User,Admin,o1,admin@contoso.example,203.0.113.9,User,Eva,o2,Eva@contoso.example,PasswordPolicies,,None"
    graph = {
        "id": "D1",
        "activityDisplayName": "Reset user password",
        "activityDateTime": "2026-03-02T08:00:00Z",
        "result": "success",
        "initiatedBy": {"user": {"userPrincipalName": "admin@contoso.example", "ipAddress": "203.0.113.9"}},
        "targetResources": [{"displayName": "Eva", "userPrincipalName": "Eva@contoso.example"}],
    }
    hunted = {
        "Timestamp": "2026-03-02T08:00:00Z",
        "Action": "Moved to junk folder",
        "ActionType": "Phish ZAP",
        "ActionResult": "Success",
        "RecipientEmailAddress": "eva@contoso.example",
        "NetworkMessageId": "n1",
        "InternetMessageId": "<q@fabrikam.example>",
        "DeliveryLocation": "Junk folder",
    }
    record = {"Id": "x1", "CreationTime": "2026-03-02T08:00:00", "Operation": "HardDelete", "RecordType": 3, "Workload": "Exchange", "UserId": "eva@contoso.example", "UserType": 0, "LogonType": 0, "MailboxOwnerUPN": "eva@contoso.example", "ResultStatus": "Succeeded",
              "Folder": {"Path": "\\Recoverable Items\\Deletions"}, "AffectedItems": [{"InternetMessageId": "<a@fabrikam.example>", "Subject": "x"}]}  # fmt: skip
    cloud = [
        {
            "Timestamp": "2026-03-02T08:00:00Z",
            "ActionType": "HardDelete",
            "Application": "Microsoft Exchange Online",
            "AccountDisplayName": "Eva",
            "ReportId": name,
            "IPAddress": "203.0.113.7",
            "RawEventData": json.dumps(record | {"Id": name}),
        }
        for name in ("x1", "x2")
    ]
    sentinel = {
        "TimeGenerated": "2026-03-02T08:00:00Z",
        "CreatedDateTime": "2026-03-02T08:00:00Z",
        "Id": "1",
        "UserPrincipalName": "eva@contoso.example",
        "IPAddress": "203.0.113.7",
        "ResultType": "50126",
        "AppDisplayName": "OWA",
        "ServicePrincipalId": "",
        "Category": "SignInLogs",
        "Type": "SigninLogs",
    }
    audit = {
        "TimeGenerated": "2026-03-02T08:00:00Z",
        "ActivityDateTime": "2026-03-02T08:00:00Z",
        "ActivityDisplayName": "Reset user password",
        "OperationName": "Reset user password",
        "Result": "success",
        "InitiatedBy": "{}",
        "Category": "UserManagement",
        "AADTenantId": "t1",
        "Id": "D1",
        "TargetResources": "[]",
    }
    types = [{"name": name, "type": "String"} for name in hunted]
    return {
        "diagnostic settings": {"insights.json": "\n".join(json.dumps(line) for line in lines)},
        "directory audit": {
            "audit.csv": f"{header}\n{portal}\n",
            "audit.json": json.dumps({"value": [graph]}),
        },
        "hunt in small letters": {"hunt.json": json.dumps({"schema": types, "results": [hunted]})},
        "hunt in capitals": {
            "hunt.json": json.dumps({"Schema": types, "Results": [hunted | {"NetworkMessageId": "n2"}]})
        },
        "seen twice": {"audit.json": json.dumps([record]), "cloud.json": json.dumps(cloud)},
        "rows of Sentinel": {"signins.json": json.dumps([sentinel]), "audit.json": json.dumps([audit])},
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return Told(tmp_path_factory.mktemp("told"), evidence())


@pytest.mark.parametrize("count", [1, 3000])
def test_each_sign_in_is_a_row_of_its_own_table(tmp_path: Path, count: int) -> None:
    """Interactive, background and service principal sign-ins come in one reply; small and large files alike."""
    records = [record for i in range(count) for record in (
        sign_in(3 * i, "interactiveUser", isInteractive=True), sign_in(3 * i + 1, "nonInteractiveUser", isInteractive=False),
        sign_in(3 * i + 2, "servicePrincipal", userPrincipalName="", servicePrincipalId="sp", servicePrincipalName="Mail Helper", userAgent="x" * 100))]  # fmt: skip
    intake = run(tmp_path, {"signins.json": json.dumps({"@odata.context": "x", "value": records})})

    assert (3 * count, 3 * count) == (intake[0]["records"], intake[0]["loaded"])
    for place, table in enumerate(
        ["SigninLogs", "AADNonInteractiveUserSignInLogs", "AADServicePrincipalSignInLogs"]
    ):
        assert [3 * i + place for i in range(count)] == sorted(
            row["_Position"] for row in ask(tmp_path, f"{table} | project _Position")
        )


def test_diagnostic_settings_are_unwrapped(told: Told) -> None:
    """One file holds sign-ins, directory audit and Graph requests, each in properties."""
    assert {
        ("SignedIn", "eva@contoso.example"),
        ("ConsentGranted", "eva@contoso.example"),
        ("SoftDeleted", "a0b1"),
    } == {(row["Activity"], row["Actor"]) for row in told.acts("diagnostic settings")}


def test_the_directory_audit_of_the_portal_means_the_same_as_that_of_graph(told: Told) -> None:
    """Numbered columns become targets with their changes."""
    assert [
        (a["Activity"], a["Actor"], a["ActorType"], a["Mailbox"], a["ClientIP"])
        for a in told.acts("directory audit")
    ] == [("PasswordChanged", "admin@contoso.example", "Admin", "eva@contoso.example", "203.0.113.9")] * 2
    (changed,) = (
        row["TargetResources"]
        for row in told.rows("directory audit", "AuditLogs")
        if row["CorrelationId"] == "c1"
    )
    assert [
        {key: change.get(key) or None for key in ("displayName", "oldValue", "newValue")}
        for change in changed[0]["modifiedProperties"]
    ] == [{"displayName": "PasswordPolicies", "oldValue": None, "newValue": "None"}]


@pytest.mark.parametrize("spelling", ["small letters", "capitals"])
def test_a_hunting_reply_is_rows_of_its_table(told: Told, spelling: str) -> None:
    """runHuntingQuery spells its members both ways."""
    (intake,) = told.intake(f"hunt in {spelling}")

    assert intake["table"] == "EmailPostDeliveryEvents"
    assert [
        (a["Activity"], a["ActorType"], a["DestinationFolderKind"]) for a in told.acts(f"hunt in {spelling}")
    ] == [("Moved", "System", "JunkEmail")]


def test_an_audit_record_seen_twice_is_one_act(told: Told) -> None:
    """CloudAppEvents carries the audit record; the audit log may be there as well."""
    found = told.acts("seen twice")

    assert [row["Activity"] for row in found] == ["HardDeleted", "HardDeleted"]
    assert {("OfficeActivity", "x1"), ("CloudAppEvents", "x2")} == {
        (row["SourceTable"], row["EventId"]) for row in found
    }
    assert {"<a@fabrikam.example>"} == {row["MessageId"] for row in found}


@pytest.mark.parametrize(("folder", "most"), [("otrf-goldensaml", 0), ("elv2/defender-elastic", 4)])
def test_public_samples_load(tmp_path: Path, folder: str, most: int) -> None:
    """Rows of tables that the product does not have are quarantined with their reason, nothing else is."""
    if not (PUBLIC / folder).is_dir():
        pytest.skip("the public samples are not on this machine")

    intake = run_paths(
        tmp_path, [path for path in sorted((PUBLIC / folder).iterdir()) if path.suffix in {".json", ".log"}]
    )

    assert sum(row["quarantined"] for row in intake) <= most


def test_rows_of_sentinel_are_not_taken_for_objects_of_graph(told: Told) -> None:
    """The columns have the same names in another case: a row that already has a result keeps it."""
    assert [row["ResultType"] for row in told.rows("rows of Sentinel", "SigninLogs")] == ["50126"]
    assert [row["AADTenantId"] for row in told.rows("rows of Sentinel", "AuditLogs")] == ["t1"]
