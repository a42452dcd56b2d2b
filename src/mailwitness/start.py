"""Where the program starts: what every shell completion and every curious person asks first is answered at once.

The text of `--help` is shipped as the command line prints it; making it anew would import the argument parser and
the terminal library, a fifth of a second for a screen that never changes. A test compares the two.
"""

from __future__ import annotations

import gc
import os
import sys

# The shipped text is this wide; on a narrower screen the command line lays it out itself.
COLUMNS = 80
HELP = os.path.join(os.path.dirname(__file__), "help.txt")  # noqa: PTH118, PTH120 - pathlib costs 30 ms here
# A run makes hundreds of thousands of values that live until its end; looking among them for circles that nobody needs
# any more took a third of the time in which a large report is written, and found none.
VALUES_BEFORE_A_SEARCH = 100_000
SWITCH_SECONDS = 0.0005
_ASKS_FOR_HELP: tuple[list[str], ...] = ([], ["--help"], ["-h"])


def main() -> None:
    """Print the shipped help, or run the command line."""
    if sys.argv[1:] in _ASKS_FOR_HELP and _is_wide():
        try:
            with open(HELP, "rb") as handle:  # noqa: PTH123 - as above
                text = handle.read()
        except OSError:
            text = b""
        if text:
            sys.stdout.flush()
            try:
                os.write(1, text)
            except OSError:
                os._exit(2)
            sys.exit(0)
    settle()
    # NumPy's linear algebra, of which nothing here is used, would start a thread for each core that waits in a loop.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from mailwitness.cli import main as run  # noqa: PLC0415 - only when it is needed

    try:
        run()
    except SystemExit as ended:
        leave(ended.code if isinstance(ended.code, int) else 0)


def settle() -> None:
    """Set the interpreter up for one long run; benchmarks that load files in their own process do the same."""
    gc.set_threshold(VALUES_BEFORE_A_SEARCH, 20, 50)
    # A thread that comes back from the database or from hashing waits for the interpreter at most this long, not 5 ms.
    sys.setswitchinterval(SWITCH_SECONDS)


def leave(code: int) -> None:
    """End the process at once: to take apart, value by value, what the system takes back as a whole costs a fifth of a second.

    Every command has closed its files, logs and databases by now. With MAILWITNESS_DEBUG Python ends as it always does.
    """
    if os.environ.get("MAILWITNESS_DEBUG"):
        sys.exit(code)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        # Whoever read the output has gone, or a command has closed it for that reason.
        code = code or 2
    os._exit(code)


def _is_wide() -> bool:
    width = os.environ.get("COLUMNS", "")
    if width.isdigit():
        return int(width) >= COLUMNS
    try:
        return os.get_terminal_size(1).columns >= COLUMNS
    except OSError:
        return True


if __name__ == "__main__":
    main()
