"""Rules as Sentinel's analytics rules, in YAML and as one ARM template."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from mailwitness import activities, chain_export, needs
from mailwitness.content import loader, schemas
from mailwitness.errors import ConfigError
from mailwitness.kql import referenced_tables
from mailwitness.rule_export import workspace

Json = dict[str, Any]  # Any: JSON values

# The keys of Azure-Sentinel's rule format, in its order; everything else is ours and stays here.
KEYS = (
    "id", "name", "description", "severity", "status", "requiredDataConnectors",
    "queryFrequency", "queryPeriod", "triggerOperator", "triggerThreshold",
    "tactics", "relevantTechniques", "query", "entityMappings", "version", "kind",
)  # fmt: skip
# "Maximum length of the query: 10,000 characters" - Microsoft's page on scheduled analytics rules.
MOST_CHARACTERS = 10_000
_RULE_API = "2023-02-01-preview"
_SEARCH_API = "2020-08-01"
_OPERATORS = {"gt": "GreaterThan", "lt": "LessThan", "eq": "Equal", "ne": "NotEqual"}
_SPAN = re.compile(r"^(\d+)([dhm])$")
_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


class Exported(msgspec.Struct, kw_only=True):
    """What an export wrote, and what it left out with the reason."""

    files: list[str] = []
    left_out: list[str] = []


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(activities.vocabulary(loader.parsers()))


def exportable(rule: schemas.Rule) -> str:
    """Return why a rule cannot run in a workspace; an empty string when it can."""
    read = referenced_tables(rule.query, loader.tables())
    for table in sorted(read - {needs.TABLE}):
        missing = workspace.missing_columns(rule.query, table)
        if missing:
            return f"it reads {', '.join(missing[:4])} of {table}, which only our loader makes"
    if needs.TABLE in read:
        named = needs.named_activities(rule.query, set(_vocabulary()))
        if named and not named & workspace.functions()[2]:
            return f"no exported parser yields {', '.join(sorted(named)[:4])}"
    if len(_query(rule)) > MOST_CHARACTERS:
        return f"its query has {len(_query(rule)):,} characters, and a workspace takes {MOST_CHARACTERS:,}"
    return ""


def _query(rule: schemas.Rule) -> str:
    return workspace.with_bridges(rule.query)


def as_yaml(rule: schemas.Rule) -> str:
    """Return a rule in Sentinel's YAML, without our own keys."""
    document = {
        key: value
        for key, value in msgspec.to_builtins(rule).items()
        if key in KEYS and value not in ("", None)
    }
    document["query"] = _query(rule)
    document["kind"] = "Scheduled"
    ordered = {key: document[key] for key in KEYS if key in document}
    return str(yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines are written as blocks, so that a person can read the query."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)


def as_resource(rule: schemas.Rule) -> Json:
    """Return a rule as an ARM resource."""
    properties: Json = {
        "displayName": rule.name,
        "description": rule.description.strip(),
        "severity": rule.severity,
        "enabled": True,
        "query": _query(rule),
        "queryFrequency": _iso(rule.queryFrequency),
        "queryPeriod": _iso(rule.queryPeriod),
        "triggerOperator": _OPERATORS.get(rule.triggerOperator.lower(), rule.triggerOperator),
        "triggerThreshold": rule.triggerThreshold,
        "suppressionEnabled": False,
        "suppressionDuration": "PT5H",
        "tactics": rule.tactics,
        "techniques": [technique.partition(".")[0] for technique in rule.relevantTechniques],
        "entityMappings": rule.entityMappings or None,
    }
    return {
        "type": "Microsoft.OperationalInsights/workspaces/providers/alertRules",
        "apiVersion": _RULE_API,
        "name": f"[concat(parameters('workspace'), '/Microsoft.SecurityInsights/{rule.id}')]",
        "kind": "Scheduled",
        "properties": properties,
    }


def _iso(span: str) -> str:
    """Turn Kusto's ``1h`` into ISO 8601's ``PT1H``."""
    match = _SPAN.match(span)
    if match is None:
        raise ConfigError(f"{span!r} is not a timespan", remedy="Write for example 1h, 5m or 1d.")
    return f"P{'' if match[2] == 'd' else 'T'}{match[1]}{match[2].upper()}"


def function_resource(function: workspace.Function) -> Json:
    """Return a function as an ARM resource: a saved search with an alias."""
    return {
        "type": "Microsoft.OperationalInsights/workspaces/savedSearches",
        "apiVersion": _SEARCH_API,
        "name": f"[concat(parameters('workspace'), '/{function.alias}')]",
        "properties": {
            "category": "mailwitness",
            "displayName": function.alias,
            "functionAlias": function.alias,
            "query": function.query,
            "version": 2,
        },
    }


def as_template(rules: list[schemas.Rule]) -> Json:
    """Return one ARM template: the functions first, then the rules, which wait for them."""
    functions = [function_resource(function) for function in workspace.functions()[0]]
    kind = "Microsoft.OperationalInsights/workspaces/savedSearches"
    waits = [
        f"[resourceId('{kind}', parameters('workspace'), '{f.alias}')]" for f in workspace.functions()[0]
    ]
    resources = []
    for rule in rules:
        is_waiting = needs.TABLE in referenced_tables(rule.query, loader.tables())
        resources.append(as_resource(rule) | ({"dependsOn": waits} if is_waiting else {}))
    # An expression of ARM begins with a bracket; a query that does is written with two.
    for resource in [*functions, *resources]:
        if resource["properties"]["query"].startswith("["):
            resource["properties"]["query"] = "[" + resource["properties"]["query"]
    return {
        "$schema": _SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {"workspace": {"type": "string"}},
        "resources": [*functions, *resources],
    }


def chains_as_rules() -> tuple[list[schemas.Rule], list[str]]:
    """Return the chains as rules with generated KQL, and a sentence for each that cannot be said."""
    made: list[schemas.Rule] = []
    left_out: list[str] = []
    for _, chain in loader.chains():
        try:
            query = chain_export.to_kql(chain)
        except chain_export.NotInKqlError as reason:
            left_out.append(f"{chain.name}: {reason}")
            continue
        made.append(
            schemas.Rule(
                id=chain.id,
                name=chain.title,
                description=chain.description.strip(),
                severity="High" if chain.level in {"high", "critical"} else "Medium",
                query=query,
                # A workspace looks back 14 days at most.
                queryPeriod="14d",
                relevantTechniques=chain.attack.v18,
            )
        )
    return made, left_out


def export(rules: list[tuple[str, schemas.Rule]], out: Path, *, form: Literal["yaml", "arm"]) -> Exported:
    """Write rules, chains and functions for Sentinel into a folder.

    Args:
        rules: file name without suffix and rule.
        out: the folder; it is made.
        form: ``yaml`` writes one file for each rule and function, ``arm`` one template.

    Raises:
        ConfigError: the folder cannot be written.
    """
    chains, unsaid = chains_as_rules()
    functions, parsers_out, _ = workspace.functions()
    done = Exported(
        left_out=[f"parser {line}" for line in parsers_out] + [f"chain {line}" for line in unsaid]
    )
    kept: list[tuple[str, schemas.Rule]] = []
    for name, rule in [*rules, *((_file(chain.name), chain) for chain in chains)]:
        reason = exportable(rule)
        if reason:
            done.left_out.append(f"rule {name}: {reason}")
        else:
            kept.append((name, rule))
    try:
        out.mkdir(parents=True, exist_ok=True)
        if form == "arm":
            _write(
                out / "mailwitness.json",
                json.dumps(as_template([rule for _, rule in kept]), indent=2) + "\n",
                done,
            )
        else:
            for name, rule in kept:
                _write(out / f"{name}.yaml", as_yaml(rule), done)
            for function in functions:
                _write(
                    out / "functions" / f"{function.alias}.kql",
                    f"// {function.description}\n{function.query}\n",
                    done,
                )
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be written ({error.strerror})", place=str(out), remedy="Name another folder."
        ) from error
    return done


def _file(name: str) -> str:
    return "chain_" + re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:80]


def _write(path: Path, text: str, done: Exported) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    done.files.append(path.name)
