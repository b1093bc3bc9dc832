"""Writes the status of Pods."""
