"""Control groups: what a container may use of the host's memory, processors and process numbers."""
