"""Kubernetes Services, with or without Kubernetes."""

__version__ = "0.1.0"
