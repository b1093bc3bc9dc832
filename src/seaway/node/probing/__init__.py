"""Makes the network part of probes and hooks: one TCP connection, or one HTTP exchange."""
