"""Rules that others wrote: Sentinel's YAML as it is published, and Sigma compiled to KQL."""
