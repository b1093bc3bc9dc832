"""Certificates and tokens: values and signing."""
