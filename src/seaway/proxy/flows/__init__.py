"""Flows that conntrack holds: which are to be forgotten when endpoints have gone."""
