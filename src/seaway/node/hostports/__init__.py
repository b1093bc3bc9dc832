"""Ports of the node that lead to Pods."""
