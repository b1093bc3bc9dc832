"""What all loops share: one client, one cache per kind, one index of who selects whom."""
