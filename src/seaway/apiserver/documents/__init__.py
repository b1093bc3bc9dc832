"""Discovery and OpenAPI: what the server says of itself."""
