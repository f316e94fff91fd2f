"""The report of a night: its figures, their plots, and the page that has them."""
