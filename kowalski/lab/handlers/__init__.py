"""One module per page of the lab: what it shows, and nothing of how that is looked up."""
