"""Limits, and whose turn it is when there is more to do than can be done."""
