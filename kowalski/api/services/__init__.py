"""What the API does, apart from HTTP."""
