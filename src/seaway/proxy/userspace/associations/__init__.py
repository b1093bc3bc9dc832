"""UDP: whose datagrams go to which endpoint, for how long."""
