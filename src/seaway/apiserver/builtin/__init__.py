"""What the server makes and keeps for itself."""
