"""Each export is read by a reader of its own format, and hostile text stays text in all of them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pymisp
import pytest
import stix2
from jsonschema import Draft202012Validator
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from sarif import loader as sarif_loader

from mailwitness import pipeline
from mailwitness.exports.formats import FORMATS

with warnings.catch_warnings():
    # The parser's own parser library still imports sre_parse.
    warnings.simplefilter("ignore")
    from syslog_rfc5424_parser import SyslogMessage

SCHEMAS = Path(__file__).parent / "schemas"
SAMPLE = Path(__file__).parents[2] / "src" / "mailwitness" / "samples" / "demo"
JsonDict = dict[str, Any]
HOSTILE = [
    "=cmd|' /C calc'!A0",
    'a|b=c]d"e\\f\nCEF:0|x|y|1|z|forged|10|',
    "\x1b[2J\u202egnp.exe\x00",
    "<script>alert(1)</script>",
    "x" * 3000,
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> JsonDict:
    settings = pipeline.Settings(now=dt.datetime(2026, 11, 1, tzinfo=dt.UTC))
    folder = tmp_path_factory.mktemp("exports") / "case"
    return pipeline.investigate([SAMPLE], folder, settings, pipeline.Progress()).report


@pytest.fixture(
    scope="module", params=range(len(HOSTILE)), ids=["formula", "separators", "controls", "html", "long"]
)
def hostile(request: pytest.FixtureRequest, report: JsonDict) -> tuple[str, JsonDict]:
    """Return a report whose every name comes from an attacker."""
    text = HOSTILE[request.param]
    made = json.loads(json.dumps(report))
    for item in made["intake"]:
        item["path"] = text
    for case in made["cases"]:
        case |= {"title": text, "actors": [text], "mailboxes": [text], "hosts": [text], "addresses": [text]}
        case["reasons"] = [text]
        for finding in case["findings"]:
            finding |= {"title": text, "actor": text, "mailbox": text}
            finding["entities"] = {"Account": text, "IP": text, "Host": text, "Session": text}
    return text, made


@pytest.fixture(params=["sound", "hostile"])
def any_report(request: pytest.FixtureRequest, report: JsonDict, hostile: tuple[str, JsonDict]) -> JsonDict:
    return report if request.param == "sound" else hostile[1]


def write(name: str, report: JsonDict) -> bytes:
    return FORMATS[name].write(report)


def faults(name: str, value: Any) -> list[str]:
    """Return what a schema of ``schemas`` finds wrong; each names its source."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    found = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).iter_errors(
        value
    )
    return [f"{one.json_path}: {one.message[:200]}" for one in found]


def total(report: JsonDict) -> int:
    return sum(len(case["findings"]) for case in report["cases"])


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_the_same_every_time_and_holds_nothing_a_screen_obeys(
    name: str, hostile: tuple[str, JsonDict]
) -> None:
    first = write(name, hostile[1])

    assert first == write(name, json.loads(json.dumps(hostile[1])))
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", first)
    assert "\u202e" not in first.decode("utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_without_cases_can_be_exported(name: str, report: JsonDict) -> None:
    empty = report | {"cases": []}

    content = write(name, empty)

    if FORMATS[name].file.endswith((".json", ".sarif")):
        json.loads(content)


def test_timesketch_gets_what_it_asks_for(any_report: JsonDict) -> None:
    events = [json.loads(line) for line in write("timesketch", any_report).splitlines()]

    assert len(events) == total(any_report)
    for event in events:
        assert faults("timesketch-event", event) == []
        assert dt.datetime.fromisoformat(event["datetime"]).tzinfo is not None
        assert event["tag"]


def test_the_csv_has_a_row_for_each_finding_and_no_formula(any_report: JsonDict) -> None:
    rows = list(csv.DictReader(io.StringIO(write("timesketch-csv", any_report).decode())))

    assert len(rows) == total(any_report)
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+@\t\r")]
    assert not [cell for row in rows for cell in row.values() if re.match(r"-\D", cell)]


def test_the_stix_bundle_is_read_strictly(any_report: JsonDict) -> None:
    bundle = stix2.parse(write("stix", any_report), allow_custom=False)

    kinds = [one["type"] for one in bundle.objects]
    assert kinds.count("report") == len(any_report["cases"])
    known = {one["id"] for one in bundle.objects}
    assert len(known) == len(bundle.objects)
    for one in bundle.objects:
        assert set(one.get("object_refs", [])) <= known


def test_stix_names_people_and_techniques(report: JsonDict) -> None:
    bundle = json.loads(write("stix", report))

    logins = {one["account_login"] for one in bundle["objects"] if one["type"] == "user-account"}
    assert set(report["cases"][0]["actors"]) <= logins
    named = {
        one["external_references"][0]["external_id"]
        for one in bundle["objects"]
        if one["type"] == "attack-pattern"
    }
    assert named == {name for case in report["cases"] for name in case["techniques"]}
    # The library computes the ids of observables itself: ours must be the same.
    for one in bundle["objects"]:
        if one["type"] in {"user-account", "ipv4-addr", "ipv6-addr"}:
            fields = {k: v for k, v in one.items() if k not in {"id", "type", "spec_version"}}
            expected = {
                "user-account": stix2.UserAccount,
                "ipv4-addr": stix2.IPv4Address,
                "ipv6-addr": stix2.IPv6Address,
            }[one["type"]](**fields)
            assert one["id"] == expected.id


def test_misp_takes_the_events(any_report: JsonDict) -> None:
    for wrapped, case in zip(
        json.loads(write("misp", any_report))["response"], any_report["cases"], strict=True
    ):
        event = pymisp.MISPEvent(strict_validation=True)
        event.from_dict(**wrapped["Event"])

        assert event.uuid == wrapped["Event"]["uuid"]
        assert {a.type for a in event.attributes} >= {"comment"}
        assert len(event.attributes) == len(wrapped["Event"]["Attribute"])
        assert any(case["severity"] in tag.name for tag in event.tags)


def test_ocsf_takes_the_detections(any_report: JsonDict) -> None:
    lines = write("ocsf-detections", any_report).splitlines()

    assert len(lines) == total(any_report)
    for line in lines:
        found = DetectionFinding(**json.loads(line))
        assert found.class_uid == 2004
        assert found.type_uid == 200401
        assert found.finding_info.title


def test_ocsf_incidents_have_what_the_class_requires(any_report: JsonDict) -> None:
    lines = [json.loads(line) for line in write("ocsf-incidents", any_report).splitlines()]

    assert [line["class_uid"] for line in lines] == [2005] * len(any_report["cases"])
    for line in lines:
        assert line["type_uid"] == line["class_uid"] * 100 + line["activity_id"]
        assert line["finding_info_list"]
        for key in ("activity_id", "category_uid", "severity_id", "status_id", "time", "metadata"):
            assert line[key]
        assert line["metadata"]["product"]["vendor_name"]


def test_the_layer_has_the_format_of_navigator(any_report: JsonDict) -> None:
    layer = json.loads(write("navigator", any_report))

    assert faults("navigator-layer-4.5", layer) == []
    assert {one["techniqueID"] for one in layer["techniques"]} >= {"T1070.008"}
    assert all(1 <= one["score"] <= 5 for one in layer["techniques"])


def test_sentinel_incidents_keep_its_limits(any_report: JsonDict) -> None:
    incidents = json.loads(write("sentinel", any_report))

    assert incidents
    assert faults("sentinel-incident", incidents) == []
    assert {one["properties"]["status"] for one in incidents} == {"New"}


def test_sarif_points_to_the_line(report: JsonDict, tmp_path: Path) -> None:
    path = tmp_path / "findings.sarif"
    path.write_bytes(write("sarif", report))

    found = sarif_loader.load_sarif_file(str(path))

    assert found.get_result_count() == len(json.loads(path.read_bytes())["runs"][0]["results"]) > 0
    run = json.loads(path.read_bytes())["runs"][0]
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        artifact = run["artifacts"][place["artifactLocation"]["index"]]
        assert artifact["location"]["uri"] == place["artifactLocation"]["uri"]
        assert place.get("region", {"startLine": 1})["startLine"] >= 1
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def fits(record: JsonDict, described: Any) -> None:
    """Hold a record against the types by which TheHive's own client describes what its interface takes."""
    hints = get_type_hints(described)
    assert described.__required_keys__ <= set(record) <= set(hints)
    for name, value in record.items():
        # Lists of records are held against their own types; msgspec knows no union of them.
        if name not in {"observables", "attachment"}:
            msgspec.convert(value, hints[name])


def test_thehive_takes_the_alerts(any_report: JsonDict) -> None:
    pytest.importorskip("thehive4py", reason="a development package")
    InputAlert = import_module("thehive4py.types.alert").InputAlert  # noqa: N806 - a class
    InputObservable = import_module("thehive4py.types.observable").InputObservable  # noqa: N806 - a class

    for alert in json.loads(write("thehive", any_report)):
        fits(alert, InputAlert)
        for one in alert["observables"]:
            fits(one, InputObservable)
            assert one["data"]
        assert 1 <= alert["severity"] <= 4


def test_iris_takes_the_alerts(any_report: JsonDict) -> None:
    alerts = json.loads(write("iris", any_report))

    assert faults("iris-alert", alerts) == []
    assert len(alerts) == len(any_report["cases"])


@pytest.mark.parametrize(
    ("name", "export", "change"),
    [
        ("navigator-layer-4.5", "navigator", lambda one: one["techniques"][0].pop("techniqueID")),
        ("sentinel-incident", "sentinel", lambda one: one[0]["properties"].update(severity="Critical")),
        ("iris-alert", "iris", lambda one: one[0].pop("alert_customer_id")),
    ],
)
def test_a_schema_refuses_what_its_product_would(
    name: str, export: str, change: Callable[[Any], Any], report: JsonDict
) -> None:
    written = json.loads(write(export, report))

    change(written)

    assert faults(name, written) != []


def cef_fields(line: str) -> tuple[list[str], dict[str, str]]:
    """Parse a CEF line as the format describes it: seven bars that are not escaped, then key=value."""
    parts = re.match(r"((?:\\.|[^\\|])*\|){7}", line)
    assert parts is not None
    head = re.findall(r"((?:\\.|[^\\|])*)\|", parts.group())
    pairs = re.findall(r"(\w+)=((?:\\.|[^\\=])*?)(?=\s\w+=|$)", line[parts.end() :])
    return head, dict(pairs)


def test_cef_cannot_be_forged(any_report: JsonDict) -> None:
    lines = write("cef", any_report).decode().splitlines()

    assert len(lines) == total(any_report)
    cases = {case["id"] for case in any_report["cases"]}
    for line in lines:
        parts, fields = cef_fields(line)
        assert len(parts) == 7
        assert parts[0] == "CEF:0"
        assert 0 <= int(parts[6]) <= 10
        assert fields["externalId"] in cases


def test_syslog_lines_are_rfc_5424(any_report: JsonDict) -> None:
    lines = write("syslog", any_report).decode().splitlines()

    assert len(lines) == total(any_report)
    for line in lines:
        message = SyslogMessage.parse(line)
        assert message.appname == "mailwitness"
        assert list(message.sd) == ["mailwitness@32473"]
        assert message.sd["mailwitness@32473"]["case"] in {case["id"] for case in any_report["cases"]}
