"""The Pod network of one node: routed veths, no bridge."""
