"""Makes probes and hooks: when they are tried, and the one TCP connection or HTTP exchange of each."""
