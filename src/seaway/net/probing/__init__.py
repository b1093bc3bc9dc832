"""One try at a server: a TCP connection, an HTTP/1.1 exchange, or a call of the gRPC health service."""
