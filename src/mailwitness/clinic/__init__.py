"""The rule clinic: what is wrong with somebody's rule, in words, each with its evidence and its remedy."""
