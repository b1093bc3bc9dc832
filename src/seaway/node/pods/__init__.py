"""One worker per Pod: carries out the plans of `lifecycle.py` and reports what became of them."""
