"""Write the translations of all shipped queries to content/translations.json.gz, or check that they are there.

A translation is found by the text of its query: one that is missing costs time and nothing else.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import sys
import tempfile
from pathlib import Path

from mailwitness import activities, blind_rules, engines, findings, pipeline
from mailwitness.content import loader, pack

SAMPLE = Path(__file__).parent.parent / "src" / "mailwitness" / "samples" / "demo"
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def translations() -> dict[str, str]:
    """Return what a run on the sample translates, and the queries of everything that the sample has no evidence for."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        os.environ.pop("MAILWITNESS_CACHE", None)
        pipeline.investigate([SAMPLE], Path(folder) / "case", pipeline.Settings(now=NOW), pipeline.Progress())
        knowledge = pack.load()
        _translate_rest(knowledge)
        return knowledge.sql


def _translate_rest(knowledge: pack.Pack) -> None:
    """Translate what a run leaves out: a rule without evidence is not evaluated, a parser without rows not asked."""
    engine = engines.new_engine(knowledge.sql)
    vocabulary = activities.vocabulary(knowledge.parsers)
    everything = blind_rules.Evidence(tables=set(loader.tables()), activities=vocabulary, absent={})
    for rule in knowledge.rules:
        findings.prepare(rule, engine, everything, vocabulary, now=NOW)
    steps = [step for chain in knowledge.chains for step in chain.parts().values() if step.query]
    for item in (*knowledge.parsers, *knowledge.explanations, *knowledge.questions, *steps):
        engine.to_sql(item.query, now=NOW)


def main() -> int:
    """Write the file; with --check say whether a query is missing from it."""
    found = translations()
    if "--check" in sys.argv[1:]:
        missing = len(set(found) - set(pack.shipped()))
        if missing:
            print(f"{missing} queries have no shipped translation; run `make translations`")
        return 2 if missing else 0
    content = json.dumps({"engine": pack.engine_version(), "sql": dict(sorted(found.items()))})
    pack.SHIPPED.write_bytes(gzip.compress(content.encode(), mtime=0))
    print(f"{len(found)} translations, {pack.SHIPPED.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
