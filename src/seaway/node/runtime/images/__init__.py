"""Images that programs of Pods come from: imported from archives, or other names for programs of the host."""
