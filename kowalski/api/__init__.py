"""The REST API: a table of routes, thin handlers, request models that validate, and services that know nothing of HTTP."""
