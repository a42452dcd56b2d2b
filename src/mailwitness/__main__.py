"""Run as ``python -m mailwitness``."""

from mailwitness.start import main

if __name__ == "__main__":
    main()
