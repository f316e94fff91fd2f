"""The name of the program that fits, for those who run it and ask after it."""

FITTER = "transient-fitter"
