"""Streams to and from a Pod's programs and ports, as clients of the API speak them."""
