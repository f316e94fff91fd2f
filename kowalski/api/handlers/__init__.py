"""Handlers, one module per resource: call a service with a valid request, answer."""
