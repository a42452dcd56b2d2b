"""What anybody would do by hand, as processes of their own.

python -m bench.baselines sha256 FILE     the digest alone
python -m bench.baselines json FILE       json.loads for each line, counting operations
python -m bench.baselines seed CASE       the published KQL rule on a loaded case
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

SEEDS = Path(__file__).resolve().parents[2] / "shared" / "seeds"
SEED_PATTERN = "004_*.txt"
# The page puts two words of its own behind the rule's last operator.
SEED_END = "| sort by Timestamp desc"


def sha256(path: Path) -> str:
    """Digest a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def count_operations(path: Path) -> int:
    """Parse every line with the standard library; damaged lines are skipped."""
    operations: Counter[str] = Counter()
    with path.open("rb") as handle:
        for line in handle:
            try:
                operations[json.loads(line)["Operation"]] += 1
            except (ValueError, TypeError, KeyError):
                continue
    return operations.total()


def seed_rule() -> str:
    """Return the KQL of the published rule, or nothing where the seeds are absent."""
    for path in sorted(SEEDS.glob(SEED_PATTERN)):
        text = path.read_text("utf-8")
        start, end = text.find("let SuspiciousMailboxCmdlets"), text.find(SEED_END)
        if 0 <= start < end:
            return text[start : end + len(SEED_END)]
    return ""


def main(argv: list[str]) -> int:
    """Run one baseline."""
    what, path = argv[0], Path(argv[1])
    if what == "sha256":
        print(sha256(path))
    elif what == "json":
        print(count_operations(path))
    elif what == "seed":
        return subprocess.run([*argv[2:], "query", seed_rule(), "--case", str(path)], check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
