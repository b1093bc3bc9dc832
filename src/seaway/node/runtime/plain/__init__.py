"""Programs of the host as plain children, without a namespace: for where none can be made, and nobody is root."""
