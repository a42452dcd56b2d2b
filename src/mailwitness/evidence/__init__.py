"""Take evidence in: find it, seal it, unpack it, and write down who handled it and when."""
