"""Pictures of a report, drawn as static SVG that needs no script, each with the same in words."""
