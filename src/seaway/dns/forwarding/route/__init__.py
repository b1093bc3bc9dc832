"""One route to upstreams: whose turn it is, who is well, and the sockets."""
