"""One of several processes leads: `lease.py` decides, `run.py` asks the server."""
