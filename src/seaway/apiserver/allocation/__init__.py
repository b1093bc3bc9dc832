"""Cluster IPs and node ports: who holds them, and which is taken next."""
