"""The filter pages' own parts: forms, two versions side by side, and what a replay shows."""
