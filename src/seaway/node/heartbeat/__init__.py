"""Keeps the Node object and its Lease fresh."""
