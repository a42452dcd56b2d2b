"""Write requirements.lock and requirements-dev.lock: every package pinned, with the digests of its files.

The locks hold names, versions and digests only: no address, so pip may install them from any index.
Digests of all platforms are listed, so one lock serves Linux and macOS.
Packages that the locks already pin keep their version; `--upgrade` looks for newer ones.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# pip builds the project with this hatchling (--no-build-isolation) and asks no index a second time.
BUILD = "hatchling>=1.27\n"
LOCKS: dict[str, list[str]] = {
    "requirements.lock": [],
    "requirements-dev.lock": ["--extra=dev", "--extra=evtx", "--extra=pst", "--extra=pdf", "--extra=witness"],
}
HEADER = {
    "requirements.lock": "# What mailwitness runs on, and hatchling to install it. Made by `make lock`.\n",
    "requirements-dev.lock": "# The same, and the tools of `make test` and `check`. Made by `make lock`.\n",
}
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?P<marker>\s*;[^\\]+)? \\$")
DIGEST = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def compile_lock(name: str, constraint: Path | None, *, upgrade: bool) -> str:
    """Resolve one lock with pip-compile and return its text without comments.

    Args:
        name: file name of the lock; its present pins are kept unless upgrade is set.
        constraint: a lock whose versions this one has to share.
        upgrade: look for newer versions.

    Raises:
        subprocess.CalledProcessError: pip-compile found no set of versions, or no index.
    """
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder, "build.in")
        build.write_text(BUILD, "utf-8")
        wanted = Path(folder, name)
        if (ROOT / name).exists() and not upgrade:
            wanted.write_bytes((ROOT / name).read_bytes())
        command = [
            sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--no-header",
            "--no-annotate", "--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links",
            "--strip-extras", "--allow-unsafe", "--output-file", str(wanted), *LOCKS[name],
            *(["--constraint", str(constraint)] if constraint else []),
            "pyproject.toml", str(build),
        ]  # fmt: skip
        subprocess.run(command, check=True, cwd=ROOT)
        lines = wanted.read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#")) + "\n"


def faults(text: str) -> list[str]:
    """Return the lines of a lock that are neither a pin nor the digest of one."""
    return [
        line
        for line in text.splitlines()
        if line and not line.startswith("#") and not PIN.match(line) and not DIGEST.match(line)
    ]


def main() -> int:
    """Write both locks; 1 when a line is neither a pin nor a digest."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="look for newer versions")
    chosen = parser.parse_args()
    constraint = None
    for name in LOCKS:
        text = compile_lock(name, constraint, upgrade=chosen.upgrade)
        for line in faults(text):
            print(f"{name}: neither a pin nor a digest: {line}")
            return 1
        (ROOT / name).write_text(HEADER[name] + text, "utf-8")
        constraint = constraint or ROOT / name
    return 0


if __name__ == "__main__":
    sys.exit(main())
