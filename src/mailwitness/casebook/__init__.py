"""The case book: what people decide about cases, beside what the program found."""
