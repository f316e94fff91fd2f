"""Packets as they were received, in Avro files that any reader opens, and the index that gives each back."""
