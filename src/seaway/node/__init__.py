"""The node agent: registers the host and runs Pods."""
