"""What becomes of a POST, PUT, PATCH or DELETE."""
