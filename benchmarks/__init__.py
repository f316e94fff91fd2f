"""Measurements of speed: ratios within one run, and CPU ms per alert; never tests."""
