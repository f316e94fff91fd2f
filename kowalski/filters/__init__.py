"""Users' filters: MongoDB aggregation pipelines, run on a batch of enriched alerts at a time."""
