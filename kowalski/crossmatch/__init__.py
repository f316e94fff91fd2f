"""Matching objects with catalogues: cones, and galaxies by their physical distance."""
