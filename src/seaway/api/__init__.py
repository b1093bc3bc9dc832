"""What an object is: the kinds, their rules, and the machinery that they share."""
