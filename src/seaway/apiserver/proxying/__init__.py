"""The proxy subresources: what is passed on to whom, and how it is told. Sockets are `serving/forwarding.py`'s."""
