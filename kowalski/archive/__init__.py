"""What is kept of the nights in open formats: packets as received, and tables."""
