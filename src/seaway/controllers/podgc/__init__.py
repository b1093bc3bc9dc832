"""Pods that nobody will ever finish or miss."""
