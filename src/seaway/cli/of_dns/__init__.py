"""What `seaway dns` has besides serving."""
