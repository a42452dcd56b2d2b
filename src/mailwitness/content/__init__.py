"""Knowledge: sources, mappings, parsers, rules; all of it data."""
