"""Connections that leave HTTP."""
