"""What runs containers. A runtime is a folder; `contract.py` is what the agent knows of it."""
