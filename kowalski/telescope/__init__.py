"""Telescopes that can be asked to observe."""
