"""Metrics, health, access log, audit."""
