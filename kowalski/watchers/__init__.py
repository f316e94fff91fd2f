"""Programs that watch what others publish, and what Kowalski itself does."""
