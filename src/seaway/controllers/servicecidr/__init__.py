"""Keeps ServiceCIDRs while addresses of them are in use."""
