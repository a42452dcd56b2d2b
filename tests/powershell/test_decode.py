"""The truth table of the PowerShell decoder: text in, commands out."""

from __future__ import annotations

import base64
import gzip
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.powershell import decode
from mailwitness.powershell.binding import Command

SEARCH = "Search-Mailbox"
REMOVE = "Remove-MailboxExportRequest"


def encoded(script: str) -> str:
    return base64.b64encode(script.encode("utf-16-le")).decode()


def shown(command: Command) -> tuple[str, dict[str, str], dict[str, bool]]:
    return command.name, command.parameters, command.switches


# text, name, parameters, switches of the command that is looked for
SCRIPTS: list[tuple[str, str, dict[str, str], dict[str, bool]]] = [
    # -- switches: written, true, false, with blanks, in brackets
    ("Search-Mailbox -Identity eva -DeleteContent", SEARCH, {"Identity": "eva"}, {"DeleteContent": True}),
    (
        "Search-Mailbox -Identity eva -DeleteContent:$true",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    (
        "Search-Mailbox -Identity eva -DeleteContent:$false",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": False},
    ),
    (
        "Search-Mailbox -Identity eva -DeleteContent: $false",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": False},
    ),
    (
        "Search-Mailbox -Identity eva -DeleteContent:($true)",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    (
        "Search-Mailbox -Identity eva -DeleteContent:(!$true)",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": False},
    ),
    (
        "$no = $false; Search-Mailbox eva -DeleteContent:$no",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": False},
    ),
    (
        "Search-Mailbox eva -DeleteContent:$someone",
        SEARCH,
        {"Identity": "eva", "DeleteContent": "$someone"},
        {},
    ),
    (
        "Search-Mailbox eva -DeleteContent -Force -Confirm:$False",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True, "Force": True, "Confirm": False},
    ),
    ("Set-Mailbox eva -AuditEnabled $false", "Set-Mailbox", {"Identity": "eva", "AuditEnabled": "False"}, {}),
    # -- positions, prefixes, aliases, modules, case
    ("search-mailbox EVA -deletecontent", SEARCH, {"Identity": "EVA"}, {"DeleteContent": True}),
    ("Search-Mailbox eva -Del", SEARCH, {"Identity": "eva"}, {"DeleteContent": True}),
    ("Search-Mailbox eva -del:$false", SEARCH, {"Identity": "eva"}, {"DeleteContent": False}),
    (
        "Search-Mailbox -Id eva -Searchq 'subject:x'",
        SEARCH,
        {"Identity": "eva", "SearchQuery": "subject:x"},
        {},
    ),
    ("Search-Mailbox eva -Target x", SEARCH, {"Identity": "eva", "Target": "x"}, {}),
    ("ri C:\\x -rec -fo", "Remove-Item", {"Path": "C:\\x"}, {"Recurse": True, "Force": True}),
    ("del C:\\x", "Remove-Item", {"Path": "C:\\x"}, {}),
    ("Microsoft.PowerShell.Management\\Remove-Item C:\\x", "Remove-Item", {"Path": "C:\\x"}, {}),
    (
        "Set-Alias go Search-Mailbox; go eva -DeleteContent",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    ("New-Alias -Name go -Value Search-Mailbox; go eva", SEARCH, {"Identity": "eva"}, {}),
    # -- letters hidden in the name
    ("Se`ar`ch-Mail`box eva -Dele`teContent", SEARCH, {"Identity": "eva"}, {"DeleteContent": True}),
    ("Se\"\"arch-Mail'b'ox eva -DeleteContent", SEARCH, {"Identity": "eva"}, {"DeleteContent": True}),
    ("& 'Search-Mailbox' eva", SEARCH, {"Identity": "eva"}, {}),
    ('. "Search-Mailbox" eva', SEARCH, {"Identity": "eva"}, {}),
    ("&('Search-'+'Mailbox') eva", SEARCH, {"Identity": "eva"}, {}),
    ("&('Remove-'+'Mail'+'boxExportRequest') -Identity ceo", REMOVE, {"Identity": "ceo"}, {}),
    ("&('{1}{0}' -f 'Mailbox','Search-') eva", SEARCH, {"Identity": "eva"}, {}),
    ("&(\"{0}{2}{1}\" -f 'Sear','Mailbox','ch-') eva", SEARCH, {"Identity": "eva"}, {}),
    ("&(('Search-','Mailbox') -join '') eva", SEARCH, {"Identity": "eva"}, {}),
    ("&(-join ('Search-','Mailbox')) eva", SEARCH, {"Identity": "eva"}, {}),
    ("&('Search#Mailbox' -replace '#','-') eva", SEARCH, {"Identity": "eva"}, {}),
    ("&('SearchXMailbox'.Replace('X','-')) eva", SEARCH, {"Identity": "eva"}, {}),
    ("&('xobliaM-hcraeS'[-1..-14] -join '') eva", SEARCH, {"Identity": "eva"}, {}),
    ("&([char]83+'earch-Mailbox') eva", SEARCH, {"Identity": "eva"}, {}),
    (
        "&(-join [char[]](83,101,97,114,99,104,45,77,97,105,108,98,111,120)) eva",
        SEARCH,
        {"Identity": "eva"},
        {},
    ),
    ("&([string]::Join('', ('Search-','Mailbox'))) eva", SEARCH, {"Identity": "eva"}, {}),
    ("&('SEARCH-MAILBOX'.ToLower()) eva", SEARCH, {"Identity": "eva"}, {}),
    ("&('xxSearch-Mailbox'.Substring(2)) eva", SEARCH, {"Identity": "eva"}, {}),
    ("&('Search,Mailbox'.Split(',') -join '-') eva", SEARCH, {"Identity": "eva"}, {}),
    ("&(gcm Search-Mailbox) eva -DeleteContent", SEARCH, {"Identity": "eva"}, {"DeleteContent": True}),
    ("&(Get-Command ('Search-'+'Mailbox')) eva", SEARCH, {"Identity": "eva"}, {}),
    (
        "&([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('U2VhcmNoLU1haWxib3g='))) eva",
        SEARCH,
        {"Identity": "eva"},
        {},
    ),
    ("&([regex]::Matches('xobliaM-hcraeS','.','RightToLeft') -join '') eva", SEARCH, {"Identity": "eva"}, {}),
    # -- variables
    ("$c='Search-Mailbox'; & $c eva", SEARCH, {"Identity": "eva"}, {}),
    ("$a='Search-';$b='Mailbox'; & \"$a$b\" eva", SEARCH, {"Identity": "eva"}, {}),
    ("$a='Search-'; $a+='Mailbox'; & $a eva", SEARCH, {"Identity": "eva"}, {}),
    ("$l='x','Search-Mailbox'; & $l[1] eva", SEARCH, {"Identity": "eva"}, {}),
    (
        "$m='eva'; Search-Mailbox -Identity $m -DeleteContent",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    (
        "$m='eva'; Search-Mailbox -Identity \"$m@contoso.example\"",
        SEARCH,
        {"Identity": "eva@contoso.example"},
        {},
    ),
    ("Set-Variable c Search-Mailbox; & $c eva", SEARCH, {"Identity": "eva"}, {}),
    ("Search-Mailbox -Identity $m", SEARCH, {"Identity": "$m"}, {}),
    # -- splatting and lists
    (
        "$p=@{Identity='eva';DeleteContent=$true}; Search-Mailbox @p",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    (
        "$p=@{Identity='eva';DeleteContent=$false;Force=$true}; Search-Mailbox @p",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": False, "Force": True},
    ),
    (
        "$p=@{'Identity'='eva'}; Search-Mailbox @p -DeleteContent",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    (
        "New-InboxRule -Name . -SubjectContainsWords 'a','b' -DeleteMessage $true",
        "New-InboxRule",
        {"Name": ".", "SubjectContainsWords": "a, b"},
        {"DeleteMessage": True},
    ),
    ("New-InboxRule -Name x -From @('a','b')", "New-InboxRule", {"Name": "x", "From": "a, b"}, {}),
    # -- pipelines, blocks, several lines, broken text
    (
        "Get-Mailbox eva | Search-Mailbox -DeleteContent -Force",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True, "Force": True},
    ),
    (
        "Get-MailboxExportRequest | ForEach-Object { Remove-MailboxExportRequest $_ -Confirm:$false }",
        REMOVE,
        {"Identity": "$_"},
        {"Confirm": False},
    ),
    (
        "if ($true) { Search-Mailbox eva -DeleteContent }",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    ("function f { Search-Mailbox eva }", SEARCH, {"Identity": "eva"}, {}),
    (
        "Search-Mailbox `\n -Identity eva `\n -DeleteContent",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    (
        "Search-Mailbox eva -DeleteContent # Search-Mailbox bob",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    ("if ($x) { Search-Mailbox eva -DeleteContent", SEARCH, {"Identity": "eva"}, {"DeleteContent": True}),
    (
        "Set-Mailbox eva -AuditOwner @('a','b'),c",
        "Set-Mailbox",
        {"Identity": "eva", "AuditOwner": "@('a','b'),c"},
        {},
    ),
    ("Search-Mailbox eva 2>&1 > $null", SEARCH, {"Identity": "eva"}, {}),
    (
        "try { Search-Mailbox eva -DeleteContent } catch {}",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    (
        "Invoke-Command -ComputerName EX01 -ScriptBlock { Search-Mailbox eva -DeleteContent }",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    # -- texts within texts
    ("iex 'Search-Mailbox eva -DeleteContent'", SEARCH, {"Identity": "eva"}, {"DeleteContent": True}),
    ("Invoke-Expression ('Search-'+'Mailbox eva')", SEARCH, {"Identity": "eva"}, {}),
    ("&($ShellId[1]+$ShellId[13]+'x') 'Search-Mailbox eva'", SEARCH, {"Identity": "eva"}, {}),
    ("iex \"iex 'Search-Mailbox eva'\"", SEARCH, {"Identity": "eva"}, {}),
    (
        f"powershell.exe -enc {encoded('Search-Mailbox eva -DeleteContent')}",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    # -- other languages and forms
    (
        "Search-Mailbox -Identity 'Jürgen Müller' -DeleteContent",
        SEARCH,
        {"Identity": "Jürgen Müller"},
        {"DeleteContent": True},
    ),
    (
        "Search-Mailbox \u2013Identity eva \u2013DeleteContent",
        SEARCH,
        {"Identity": "eva"},
        {"DeleteContent": True},
    ),
    ("Search-Mailbox 'o''brien' -DeleteContent", SEARCH, {"Identity": "o'brien"}, {"DeleteContent": True}),
    ("@'\nSearch-Mailbox bob -DeleteContent\n'@; Search-Mailbox eva", SEARCH, {"Identity": "eva"}, {}),
]


@pytest.mark.parametrize(
    ("text", "name", "parameters", "switches"), SCRIPTS, ids=[row[0][:60] for row in SCRIPTS]
)
def test_a_script_names_what_it_runs(
    text: str, name: str, parameters: dict[str, str], switches: dict[str, bool]
) -> None:
    decoded = decode.script(text)

    found = [shown(command) for command in decoded.commands if command.name == name]

    assert [(name, parameters, switches)] == found


LINES: list[tuple[str, dict[str, bool]]] = [
    (f"powershell -EncodedCommand {encoded('Search-Mailbox eva -DeleteContent')}", {"DeleteContent": True}),
    (f"powershell -enc {encoded('Search-Mailbox eva -DeleteContent')}", {"DeleteContent": True}),
    (f"powershell -e {encoded('Search-Mailbox eva -DeleteContent:$false')}", {"DeleteContent": False}),
    (f"powershell.exe -ec {encoded('Search-Mailbox eva')}", {}),
    (f"powershell /enc {encoded('Search-Mailbox eva')}", {}),
    (f"powershell \u2013enc {encoded('Search-Mailbox eva')}", {}),
    (
        f'"C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe" -NoP -NonI -W Hidden -Exec Bypass -Enc {encoded("Search-Mailbox eva")}',
        {},
    ),
    (f"pwsh -nop -encodedcommand {encoded('Search-Mailbox eva -del')}", {"DeleteContent": True}),
    ('powershell -Command "Search-Mailbox eva -DeleteContent"', {"DeleteContent": True}),
    ('powershell -c "& {Search-Mailbox eva -DeleteContent}"', {"DeleteContent": True}),
    ("powershell Search-Mailbox eva -DeleteContent", {"DeleteContent": True}),
    ("powershell -ep bypass -nop Search-Mailbox eva", {}),
    ("cmd.exe /c p^owershel^l -c Search-Mailbox eva -Delete^Content", {"DeleteContent": True}),
    (f"cmd /c powershell -c powershell -enc {encoded('Search-Mailbox eva')}", {}),
]


@pytest.mark.parametrize(("text", "switches"), LINES, ids=[row[0][:50] for row in LINES])
def test_a_command_line_hands_its_script_to_powershell(text: str, switches: dict[str, bool]) -> None:
    decoded = decode.line(text)

    assert decoded is not None
    assert [(SEARCH, {"Identity": "eva"}, switches)] == [
        shown(command) for command in decoded.commands if command.name == SEARCH
    ]


@pytest.mark.parametrize(
    "text",
    [
        "notepad.exe powershell.txt",
        "pwsh script.ps1",
        "powershell -File x.ps1 -enc AAAA",
        "powershell -enc !!!",
        "powershell",
        "",
        "cmd /c dir",
    ],
)
def test_a_line_without_a_script_is_not_decoded(text: str) -> None:
    assert decode.line(text) is None


def test_a_pattern_is_left_unresolved_and_said_so() -> None:
    decoded = decode.script("& (gcm *MailboxExp*) eva")

    assert not [command for command in decoded.commands if command.name == REMOVE]
    assert any("*MailboxExp*" in note for note in decoded.notes)


def test_compressed_text_is_unpacked() -> None:
    packed = base64.b64encode(
        gzip.compress(b"Search-Mailbox eva -DeleteContent # and some more text to be long enough")
    ).decode()

    decoded = decode.script(
        f"iex (New-Object IO.StreamReader(New-Object IO.Compression.GzipStream((New-Object IO.MemoryStream(,[Convert]::FromBase64String('{packed}'))),0))).ReadToEnd()"
    )

    assert [command.switches["DeleteContent"] for command in decoded.commands if command.name == SEARCH] == [
        True
    ]


def test_bindings_are_taken_as_powershell_bound_them() -> None:
    payload = 'CommandInvocation(Search-Mailbox): "Search-Mailbox"\r\nParameterBinding(Search-Mailbox): name="Identity"; value="eva"\r\nParameterBinding(Search-Mailbox): name="DeleteContent"; value="True"\r\n'

    decoded = decode.binding(payload)

    assert [shown(command) for command in decoded.commands] == [
        (SEARCH, {"Identity": "eva"}, {"DeleteContent": True})
    ]


def test_a_part_of_a_script_leaves_out_what_may_be_cut() -> None:
    decoded = decode.part("ox bob; Search-Mailbox eva -DeleteContent; Search-Mailbox mia -DeleteContent")

    assert [command.parameters for command in decoded.commands] == [{"Identity": "eva"}]


def test_every_step_is_told() -> None:
    decoded = decode.script("&('Se'+'arch-Mailbox') eva -Del")

    assert decoded.commands[0].how == ["call operator", "concatenation", "prefix: -Del"]


def test_ranges_point_into_the_text() -> None:
    text = "# größer\nSearch-Mailbox eva"

    command = decode.script(text).commands[0]

    assert text[command.start : command.end] == "Search-Mailbox eva"


HOSTILE = {
    "brackets": "(" * 10_000,
    "closed brackets": "$(" * 10_000 + ")" * 10_000,
    "open blocks": "{" * 10_000 + "}" * 10_000,
    "open text": '"' + "$(" * 10_000,
    "many commands": "a;" * 500_000,
    "dashes": "-" * 200_000,
    "half a here-string": "@'\n" + "x" * 1_000_000,
    "one word": "x" * 1_000_000,
    "a long sum": "'a'+" * 100_000 + "'b'",
    "bags in bags": "@{a=" * 20_000,
    "no letters": ";&" * 100_000,
    "backticks": "`" * 1_000_000,
    "a multiplied text": "&('a'*1000000*1000000) eva",
    "a range without end": "&((0..2147483647) -join '') eva",
    "a format that grows": "&(('{0}'*1000) -f ('x'*100000)) eva",
    "a slow pattern": "&('" + "a" * 50 + "' -replace '(a+)+$','x') eva",
    "itself": "iex $x; $x = 'iex $x'; iex $x",
    "half a pair": "Search-Mailbox '\ud800'",
    "nothing": "\x00\x01\x02",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_costs_little_and_raises_nothing(text: str) -> None:
    started = time.perf_counter()

    result = decode.as_json(text, "script")

    assert result is not None
    assert isinstance(msgspec.json.decode(result), dict)
    # A bound against endless work, not a benchmark: ten times what is measured.
    assert time.perf_counter() - started < 60


def test_padding_does_not_hide_a_command() -> None:
    decoded = decode.script("a;" * 400_000 + "Search-Mailbox eva -DeleteContent")

    assert [shown(command) for command in decoded.commands if command.name == SEARCH] == [
        (SEARCH, {"Identity": "eva"}, {"DeleteContent": True})
    ]
    assert any("too long" in note for note in decoded.notes)


PIECES = [
    "Search-Mailbox",
    "eva",
    "-DeleteContent",
    ":",
    "$false",
    "'",
    '"',
    "`",
    "(",
    ")",
    "{",
    "}",
    "@",
    "$x",
    "=",
    ";",
    "|",
    "&",
    "+",
    "-f",
    "-join",
    "[char]",
    "65",
    "\n",
    " ",
    "iex",
    ",",
    "{0}",
    "@{",
    "[0]",
    "..",
    "é",
    "\x00",
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.sampled_from(["script", "part", "line", "binding"]),
)
def test_any_text_gives_an_answer(text: str, kind: str) -> None:
    result = decode.as_json(text, kind)

    assert result is None or isinstance(msgspec.json.decode(result)["commands"], list)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_unicode_gives_an_answer(text: str) -> None:
    decode.as_json(text, "script")
    decode.as_json("powershell -c " + text, "line")
