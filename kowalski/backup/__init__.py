"""Backups: folders that hold a database as of one point in time, made beside writers, checked, and restored."""
