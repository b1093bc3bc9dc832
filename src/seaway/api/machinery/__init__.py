"""Machinery under every kind: metadata, selectors, errors, requests and responses, codecs."""
