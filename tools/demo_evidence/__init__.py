"""The parts of the synthetic evidence that ships with mailwitness."""
