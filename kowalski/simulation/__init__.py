"""A sky that never was: simulated nights of ZTF alert packets, and the catalogues that match them."""
