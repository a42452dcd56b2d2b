"""Snapshots: what a mail store or a listing held at one time, kept as salted digests of its messages."""
