"""From findings to a decision: questions answered, escalation decided, steps filled in."""
