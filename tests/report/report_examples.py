"""Two example reports: a realistic one, and one in which every text is hostile. All names are synthetic."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

Json = dict[str, Any]  # Any: a report is read and written as plain JSON

HOSTILE_TEXTS = {
    "script": "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "breakout": "</script></style></title></textarea>--><svg onload=document.title='owned'>\"'><b>",
    "ansi": "\x1b[2J\x1b[31mred\x1b]0;owned\x07\x1b]8;;http://evil.example\x1b\\link\x9b31m\r\b\x7f",
    "bidi": "invoice\u202efdp.exe\u2066\u2069\u200f\u200b\u200b\u200b\u200b\u200b\ufeff",
    "nul": "before\x00after\n# Heading\n\n| a | b |\u2028line",
    "formula": '=HYPERLINK("http://evil.example","click")',
    "query": "'; DROP TABLE OfficeActivity; -- | where 1==1 | project *",
    "template": "{{ 7*7 }}{% raw %}${7*7}",
    "markdown": "[click](javascript:alert(1)) ![x](http://evil.example/p) **bold** `code` www.evil.example",
    "zalgo": "Za" + "\u0301" * 60 + "lgo \ud800 \U000e0041",
}

# These are words of ours, never of the evidence.
OWN_WORDS = frozenset(
    [
        "outcome",
        "state",
        "severity",
        "confidence",
        "verdict",
        "phase",
        "time",
        "first_seen",
        "last_seen",
        "from",
        "to",
        "now",
        "first_time",
        "last_time",
        "read_at",
        "removed_at",
        "listed_at",
    ]
)


def realistic() -> Json:
    """Return a report with two cases, twelve findings, quarantined records and things not evaluated."""
    text = (Path(__file__).parent / "examples" / "realistic.json").read_text(encoding="utf-8")
    report: Json = json.loads(text)
    return report


def hostile() -> Json:
    """Return the realistic report with every text replaced by hostile ones, and one subject of a megabyte."""
    report = poison(realistic(), list(HOSTILE_TEXTS.values()))
    report["cases"][0]["findings"][0]["evidence"]["Subject"] = "A" * 1_048_576
    report["cases"][0]["findings"][0]["title"] = "Subject " + "\u202e" * 500 + "B" * 5_000
    report["summary"]["sentences"] = [*HOSTILE_TEXTS.values()]
    return report


def poison(report: Json, texts: list[str], *, also_own_words: bool = False) -> Json:
    """Return `report` with every text and every open key replaced by the next of `texts`, in turn."""
    turn = count()

    def next_text() -> str:
        return texts[next(turn) % len(texts)]

    def replaced(node: object, key: str) -> object:
        if isinstance(node, dict):
            is_open = key in {"entities", "evidence"}
            return {
                (next_text() + name if is_open else name): replaced(value, name)
                for name, value in node.items()
            }
        if isinstance(node, list):
            return [replaced(value, key) for value in node]
        if isinstance(node, str) and (also_own_words or key not in OWN_WORDS):
            return next_text()
        return node

    return {name: replaced(value, name) for name, value in report.items()}
