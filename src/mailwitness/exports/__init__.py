"""A report in the formats of other products: one module for each format, each a function of report.json alone."""
