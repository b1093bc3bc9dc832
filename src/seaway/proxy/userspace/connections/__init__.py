"""TCP: connections of clients, and those to the endpoints that were chosen for them."""
