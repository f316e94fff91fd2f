"""SkyPortal (or Fritz): the messages it takes, the client that sends them, and a receiver that checks them."""
