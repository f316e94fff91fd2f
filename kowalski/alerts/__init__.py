"""Alerts as pure functions: decode, check, coordinates, cutouts, light curves; no Kafka, MongoDB or HTTP."""
