"""What is refused or added although RBAC allows it."""
