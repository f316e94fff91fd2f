"""Nights conducted from their topics to their reports."""
