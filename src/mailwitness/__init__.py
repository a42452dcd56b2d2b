"""mailwitness finds cleared mailbox evidence and proves it from the logs that remain."""

__version__ = "0.1.0"
