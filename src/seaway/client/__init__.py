"""The client side of the API: requests, list and watch, work queues, credentials."""
