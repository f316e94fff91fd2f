"""What requests must look like: one model per body, checked before a handler sees it."""
