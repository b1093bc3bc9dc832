"""DaemonSets: a Pod on each node that fits."""
