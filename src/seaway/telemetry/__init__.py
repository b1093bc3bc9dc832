"""What a piece tells about itself: numbers and health, over HTTP."""
