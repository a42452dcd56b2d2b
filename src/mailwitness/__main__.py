"""Run as ``python -m mailwitness``."""

from mailwitness.cli import main

if __name__ == "__main__":
    main()
