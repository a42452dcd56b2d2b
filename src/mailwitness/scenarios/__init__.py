"""Scenarios: attacks and their innocent twins as telemetry, written, replayed and judged."""
