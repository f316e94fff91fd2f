"""Extragalactic transients among the alerts, and SALT2 fitted to their light curves."""
