"""Tests of the flow from records to findings."""
