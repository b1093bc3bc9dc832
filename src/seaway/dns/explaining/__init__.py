"""What a name is answered with, and why: for people, from the very functions that answer."""
