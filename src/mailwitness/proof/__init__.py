"""Proof: what existed, what became of it, and whether it could have been seen."""
