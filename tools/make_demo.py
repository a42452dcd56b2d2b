"""Write the sample evidence that ships with mailwitness, or check that it is fresh.

    python tools/make_demo.py            write src/mailwitness/samples/demo
    python tools/make_demo.py --check    exit 1 when the files there differ

The story is synthetic: fourteen days at contoso.example in October 2026, in which
a mailbox and then an administrator are taken over and the traces are cleared.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from demo_evidence import listing
from demo_evidence.background import add_background
from demo_evidence.collection import Evidence
from demo_evidence.identities import SEED
from demo_evidence.story import add_intrusion
from demo_evidence.writers import management_json, purview_csv, sign_in_json, trace_csv

FOLDER = Path(__file__).resolve().parents[1] / "src" / "mailwitness" / "samples" / "demo"


def build() -> dict[str, bytes]:
    """Build every file of the demo: name to bytes, the same on every run."""
    # Not a secret: the same files have to come out on every machine.
    evidence = Evidence(random.Random(SEED))  # noqa: S311
    add_background(evidence)
    add_intrusion(evidence)
    texts = {
        "purview-audit-export.csv": purview_csv(evidence),
        "ediscovery-general.json": management_json(evidence),
        "entra-signins.json": sign_in_json(evidence),
        "message-trace.csv": trace_csv(evidence),
        listing.FILE: listing.listing_json(evidence),
    }
    return {name: text.encode() for name, text in texts.items()}


def main(arguments: list[str]) -> int:
    """Write the files, or with --check name those that are missing or differ."""
    files = build()
    if "--check" in arguments:
        stale = [
            name
            for name, content in files.items()
            if not (FOLDER / name).is_file() or (FOLDER / name).read_bytes() != content
        ]
        for name in stale:
            print(f"{FOLDER.name}/{name} is stale: run python tools/make_demo.py")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (FOLDER / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
