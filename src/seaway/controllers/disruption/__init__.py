"""What disruption budgets allow now."""
