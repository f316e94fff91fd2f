"""Alerts, light curves, scores, matches, filters' passes and fits as Parquet, by survey and night."""
