"""The `process` runtime: a container is a program of the host in namespaces of its own. Images are not pulled."""
