"""PowerShell undone: which commands a text really names, through encodings, string tricks, aliases and shortened names."""
