"""The end of a Pod's containers."""
