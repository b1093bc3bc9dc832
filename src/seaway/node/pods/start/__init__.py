"""The start of a Pod: its sandbox, its volumes, its containers."""
