"""What a person reads: the page, the Markdown, the terminal summary, and the schema of report.json."""
