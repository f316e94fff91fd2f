"""The poster: sends what the outbox holds, once each, for as long as it takes."""
