"""The revisioned key-value store under the API server. Only the API server and the composition root import it."""
