"""Sky maps: where on the sky an event of other messengers may have been, and contours of that for MongoDB."""
