"""Files fetched from elsewhere: many at a time, whole and verified or not at all."""
