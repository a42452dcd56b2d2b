"""Bundles: everything the other side needs to repeat a verdict, signed, in one file."""
