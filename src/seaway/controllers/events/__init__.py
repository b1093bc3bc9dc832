"""What control loops tell people about an object."""
