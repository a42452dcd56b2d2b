"""What the content says about ATT&CK, for other tools: a Navigator layer, and a vault of notes."""
