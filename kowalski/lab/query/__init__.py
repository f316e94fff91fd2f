"""The query page's own parts: its forms, what becomes of an answer, plots, and the same query elsewhere."""
