"""Port-forward: TCP connections of a client into a Pod."""
