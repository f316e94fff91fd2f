"""Kowalski: an alert broker and archive for time-domain astronomy."""
