"""The benchmark: generate audit logs, check the answers, then measure whole processes."""
