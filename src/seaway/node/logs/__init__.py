"""Logs of containers: which file, which lines, how they are told."""
