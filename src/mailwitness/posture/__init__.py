"""Posture: which settings leave which clearing invisible, judged by checks that are content."""
