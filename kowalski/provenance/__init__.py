"""Where what is stored came from, and whether it is still so: recorded by the chain, checked by ``./kowalski.py verify``."""
