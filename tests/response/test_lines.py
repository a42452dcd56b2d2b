"""Every line by hand, filled with hostile values and read by the parser or the shell that would run it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import tree_sitter_powershell
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Language, Node, Parser

from mailwitness.content.actions import ByHand, actions
from mailwitness.report.text import visible
from mailwitness.response import planning, quoting

HOSTILE = [
    "eva@contoso.example",
    "o'brien@contoso.example",
    "\u2018x\u2019; Remove-Mailbox y; \u201az\u201b",
    "'; touch canary; '",
    '"; touch canary; "',
    "$(touch canary)`touch canary`${IFS}",
    "a'\"'\"'b;touch canary",
    "-Force",
    "--delete-all",
    "x && touch canary || y | z > canary & #",
    "$env:TEMP\\canary; exit",
    "@{a=1}; {0} {value} {n}",
    "%USERNAME%^&!x!",
    "..\\..\\canary",
    "a b  c",
    "R\u00e9sum\u00e9 \u65e5\u672c\u8a9e",
]
# Programs that the lines start; each notes its words and does nothing.
STUBS = ("ssh", "sudo", "gam", "doveadm")


def lines(*shells: str) -> list[tuple[str, ByHand]]:
    return [(action.id, one) for action in actions() for one in action.by_hand if one.shell in shells]


def filled(one: ByHand, value: str) -> str:
    template = one.line.replace("{n}", "7")
    values = dict.fromkeys(("value", "mailbox", "family", "range", "range_type"), value)
    return quoting.line(one.shell, template, values)


def holes(one: ByHand) -> int:
    return sum(
        one.line.count(f"{{{name}}}") for name in ("value", "mailbox", "family", "range", "range_type")
    )


# -- PowerShell ------------------------------------------------------------------------------

POWERSHELL = Parser(Language(tree_sitter_powershell.language()))
QUOTES = "'\u2018\u2019\u201a\u201b"


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def parsed(line: str) -> Node:
    # The grammar knows no parameter name with a digit, as this one of Graph's module has.
    return POWERSHELL.parse(line.replace("-OAuth2PermissionGrantId", "-Id").encode()).root_node


def shape(node: Node) -> list[str]:
    """Return the kinds of all nodes in order: two lines of one shape do the same with other values."""
    return [one.type for one in nodes(node)]


def literals(node: Node) -> list[str]:
    """Return what the single-quoted texts of a script say: two quotes in a row are one."""
    found = [
        one.text.decode() for one in nodes(node) if one.type == "verbatim_string_characters" and one.text
    ]
    return [undoubled(text[1:-1]) for text in found]


def undoubled(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        if text[at] in QUOTES:
            assert text[at + 1] in QUOTES, "a quote that is not doubled ends the text"
            at += 1
        out += text[at]
        at += 1
    return out


@pytest.mark.parametrize("value", HOSTILE)
def test_in_powershell_every_value_is_one_literal_and_changes_nothing_else(value: str) -> None:
    for name, one in lines("powershell"):
        plain, evil = parsed(filled(one, "plain")), parsed(filled(one, value))

        assert not evil.has_error, (name, filled(one, value))
        assert shape(evil) == shape(plain), name
        assert literals(evil).count(value) == literals(plain).count("plain") == holes(one), name


# -- shells ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of programs that write their words as JSON into the file of the variable WORDS."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in STUBS:
        stub = folder / name
        stub.write_text(f'#!/bin/bash\nprintf "%s\\0" {name} "$@" >> "$WORDS"\nprintf "\\0" >> "$WORDS"\n')
        stub.chmod(0o755)
    return folder


def run(line: str, stubs: Path, place: Path) -> list[list[str]]:
    """Run a line in bash with only stubs on its path; return the words of every program it started."""
    place.mkdir(exist_ok=True)
    words = place / "words"
    words.unlink(missing_ok=True)
    environment = {"PATH": f"{stubs}{os.pathsep}/nowhere", "WORDS": str(words), "HOME": str(place)}
    subprocess.run(["/bin/bash", "-n", "-c", line], check=True, env=environment)
    subprocess.run(["/bin/bash", "-c", line], check=True, env=environment, cwd=place, timeout=20)
    return [call.split("\0") for call in words.read_text().split("\0\0") if call]


@pytest.mark.parametrize("value", HOSTILE)
def test_in_a_shell_every_value_is_one_word_of_the_program_that_is_meant(
    value: str, stubs: Path, tmp_path: Path
) -> None:
    for name, one in lines("sh", "gam"):
        line = filled(one, value)
        if not line:
            assert not quoting.is_one_word(one.shell, value), name
            continue
        plain = run(filled(one, "plain"), stubs, tmp_path / "plain")

        called = run(line, stubs, tmp_path / "evil")

        meant = f"./{value}" if value.startswith("-") else value
        assert called == [[meant if word == "plain" else word for word in call] for call in plain], name
        made = {path.name for path in (tmp_path / "evil").iterdir()}
        assert made == {path.name for path in (tmp_path / "plain").iterdir()}, name


def test_every_shell_line_uses_a_program_that_the_tests_know() -> None:
    for name, one in lines("sh", "gam"):
        assert shlex.split(filled(one, "plain"))[0] in STUBS, name


@pytest.mark.parametrize(("shell", "value"), [("sh", "*"), ("sh", "a?c"), ("gam", "a,b"), ("gam", "a b")])
def test_a_mask_or_a_list_gets_no_line_because_no_quote_makes_it_one_account(shell: str, value: str) -> None:
    assert quoting.line(shell, "x {value}", {"value": value}) == ""


# -- Graph -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", HOSTILE)
def test_in_a_graph_request_every_value_is_one_segment(value: str) -> None:
    for name, one in lines("graph"):
        method, url = filled(one, value).split(" ")
        plain = urlsplit(filled(one, "plain").split(" ")[1])
        parts = urlsplit(url)

        assert method in {"GET", "POST", "PATCH", "DELETE"}, name
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == (
            plain.scheme,
            plain.netloc,
            "",
            "",
        )
        segments = [unquote(segment) for segment in parts.path.split("/")]
        assert segments == [value if segment == "plain" else segment for segment in plain.path.split("/")], (
            name
        )


# -- what may stand in a line at all ---------------------------------------------------------


def test_a_line_holds_no_character_that_a_report_would_show_as_another() -> None:
    every = (chr(code) for code in range(0x110000))
    writable = "a".join(one for one in every if quoting.is_writable(one))

    assert visible(writable, len(writable)) == writable


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=60)
def test_what_can_be_written_reads_in_a_report_as_it_is_typed(value: str) -> None:
    assert not quoting.is_writable(value) or visible(value, 1000) == value


def test_a_name_longer_than_a_report_shows_gets_no_line() -> None:
    assert not quoting.is_writable("x" * 513)


def case(address: str) -> dict[str, object]:
    finding = {"evidence": {"Activity": "SignedIn", "Platform": "Linux"}, "mailbox": ""}
    return {"findings": [finding], "actors": [], "mailboxes": [], "addresses": [address], "hosts": []}


@pytest.mark.parametrize("value", ["203.0.113.7; flush ruleset", "203.0.113.0/0", "any", "fe80::1%;x"])
def test_what_is_no_address_gets_no_line_because_nft_parses_its_words_again(value: str) -> None:
    (step,) = (one for one in planning.plan(case(value)) if one.action == "block_address")

    assert step.lines == ()
    assert "no address" in step.note


@pytest.mark.parametrize(("value", "family"), [("203.0.113.7", "ip"), ("2001:db8::7", "ip6")])
def test_an_address_is_blocked_in_its_own_family(value: str, family: str) -> None:
    (step,) = (one for one in planning.plan(case(value)) if one.action == "block_address")

    assert step.lines == (("sh", f"sudo nft add rule inet filter input {family} saddr {value} drop"),)


def test_the_vendors_own_application_is_never_blocked() -> None:
    own = "00000002-0000-0ff1-ce00-000000000000"
    evidence = {"Activity": "ConsentGranted", "Platform": "ExchangeOnline"}
    listed = [{"evidence": evidence | {"ApplicationId": name}, "mailbox": ""} for name in (own, "4f1c")]

    steps = planning.plan(case("203.0.113.7") | {"findings": listed})

    assert [one.value for one in steps if one.action == "block_application"] == ["4f1c"]


def test_the_values_of_a_line_are_json_when_a_report_holds_them() -> None:
    plans, described = planning.of_report([
        case("203.0.113.7") | {"id": "C1", "verdict": "attack"},
        case("203.0.113.8") | {"id": "C2", "verdict": "noise"},
    ])  # fmt: skip

    assert json.loads(json.dumps(plans)) == plans
    assert list(plans) == ["C1"]
    assert {step["action"] for step in plans["C1"]} == {one["id"] for one in described}


def test_a_plan_from_a_report_is_the_plan_that_was_written() -> None:
    one = case("203.0.113.7") | {"id": "C1", "verdict": "attack"}
    plans, described = planning.of_report([one])

    read = planning.from_report({"actions": described}, one | {"plan": plans["C1"]})

    assert read == planning.plan(one)
