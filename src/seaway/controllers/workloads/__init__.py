"""Workloads: Pods made from templates, counted, replaced and removed."""
