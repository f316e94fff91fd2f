"""Nights: again, and their books."""
