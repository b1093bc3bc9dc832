"""Other firewalls of the host that stand in the way of Pods."""
