"""Cluster DNS: Services and EndpointSlices become answers."""
