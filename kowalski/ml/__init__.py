"""Neural networks: what goes in, which are configured, what runs them."""
