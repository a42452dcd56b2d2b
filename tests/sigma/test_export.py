"""What is exported loads again to the same query, has the shape its product takes, and passes Microsoft's parser."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

import check_kql
from mailwitness import rule_export
from mailwitness.content import loader
from mailwitness.content.foreign import load
from mailwitness.kql import referenced_tables
from mailwitness.rule_export import sentinel, workspace

from .rules import sigma


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    rule_export.sentinel_rules(out, form="yaml", folders=[])
    return out


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    out = tmp_path_factory.mktemp("arm")
    rule_export.sentinel_rules(out, form="arm", folders=[])
    found: dict[str, list[dict[str, object]]] = json.loads((out / "mailwitness.json").read_text("utf-8"))
    return found


def test_every_exported_rule_loads_again_to_the_same_query_and_metadata(exported: Path) -> None:
    shipped = {path.stem: rule for path, rule in loader.rules() if not sentinel.exportable(rule)}

    for name, rule in shipped.items():
        back = load.load(exported / f"{name}.yaml").accepted[0].rule
        same = (
            "id",
            "name",
            "description",
            "severity",
            "queryFrequency",
            "queryPeriod",
            "triggerThreshold",
            "tactics",
            "relevantTechniques",
            "entityMappings",
            "version",
        )
        assert back.query == workspace.with_bridges(rule.query)
        assert [getattr(back, key) for key in same] == [getattr(rule, key) for key in same]
        if referenced_tables(rule.query, loader.tables()) == {"MailboxActivity"}:
            assert back.query == rule.query
    assert len(shipped) > 40


def test_none_of_our_own_keys_leaves_with_a_rule(exported: Path) -> None:
    for path in exported.glob("*.yaml"):
        assert set(loader.read_yaml(path)) <= set(sentinel.KEYS), path.name


def test_what_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    done = rule_export.sentinel_rules(tmp_path, form="yaml", folders=[])

    written = {name.removesuffix(".yaml") for name in done.files}
    for path, rule in loader.rules():
        reason = sentinel.exportable(rule)
        assert (path.stem in written) != bool(reason)
        assert not reason or f"rule {path.stem}: {reason}" in done.left_out


class Properties(msgspec.Struct, forbid_unknown_fields=True):
    """Properties of a scheduled analytics rule, as Microsoft's template reference lists them."""

    displayName: str  # noqa: N815
    description: str
    severity: str
    enabled: bool
    query: str
    queryFrequency: str  # noqa: N815
    queryPeriod: str  # noqa: N815
    triggerOperator: str  # noqa: N815
    triggerThreshold: int  # noqa: N815
    suppressionEnabled: bool  # noqa: N815
    suppressionDuration: str  # noqa: N815
    tactics: list[str]
    techniques: list[str]
    entityMappings: list[dict[str, object]] | None  # noqa: N815


def test_the_template_has_the_shape_of_its_resources_and_unique_names(
    template: dict[str, list[dict[str, object]]],
) -> None:
    resources = template["resources"]

    rules = [item for item in resources if str(item["type"]).endswith("alertRules")]
    functions = [item for item in resources if str(item["type"]).endswith("savedSearches")]
    shapes = [msgspec.convert(item["properties"], Properties) for item in rules]
    assert len({item["name"] for item in resources}) == len(resources)
    assert len(rules) + len(functions) == len(resources)
    assert {shape.severity for shape in shapes} <= {"Informational", "Low", "Medium", "High"}
    assert all(len(shape.query) <= sentinel.MOST_CHARACTERS for shape in shapes)
    assert all(
        shape.queryPeriod.startswith("P") and shape.triggerOperator == "GreaterThan" for shape in shapes
    )
    assert all("." not in technique for shape in shapes for technique in shape.techniques)


def test_a_sigma_rule_is_exported_as_a_rule_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mine.yml").write_text(
        sigma({"product": "m365"}, {"sel": {"Operation": "HardDelete"}, "condition": "sel"}), "utf-8"
    )

    rule_export.sentinel_rules(tmp_path / "out", form="yaml", folders=[tmp_path / "rules"])

    back = load.load(tmp_path / "out" / "mine.yaml").accepted[0].rule
    assert '_Exhibit = ""' in back.query
    assert 'Operation =~ "HardDelete"' in back.query


def _public_tables() -> dict[str, list[dict[str, str]]]:
    """Return the tables as a workspace has them: none of our columns, and MailboxActivity as its function returns it."""
    public = workspace.public_columns()
    return {
        name: [
            {"name": c.name, "type": c.type}
            for c in table.columns
            if c.name in public[name] or name == "MailboxActivity"
        ]
        for name, table in loader.tables().items()
    }


def test_microsofts_parser_accepts_everything_exported_on_the_tables_of_a_workspace(
    template: dict[str, list[dict[str, object]]],
) -> None:
    queries = {}
    for item in template["resources"]:
        properties = item["properties"]
        assert isinstance(properties, dict)
        name = properties.get("functionAlias") or properties["displayName"]
        if name != "MailboxActivity":
            queries[str(name)] = str(properties["query"])
    try:
        answers = check_kql.ask_microsoft(
            _public_tables(), [check_kql.Query(Path(name), 1, text) for name, text in queries.items()]
        )
    except check_kql.NotEvaluatedError as reason:
        pytest.skip(str(reason))

    faults = {
        name: answer["faults"][:2] for name, answer in zip(queries, answers, strict=True) if answer["faults"]
    }
    wanted = {column.name: column.type for column in loader.tables()["MailboxActivity"].columns}
    given = {
        name: {c["name"]: c["type"] for c in answer["columns"]}
        for name, answer in zip(queries, answers, strict=True)
        if name.startswith("MailboxActivity_")
    }
    assert faults == {}
    wrong = [
        (name, c) for name, columns in given.items() for c, kind in columns.items() if wanted.get(c) != kind
    ]
    assert wrong == []
