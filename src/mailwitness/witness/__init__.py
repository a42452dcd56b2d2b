"""The witness: records kept on another host, append-only and provable, so that clearing shows by comparison."""
