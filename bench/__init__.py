"""Benchmarks, a module per component: `python -m bench [component]`. Figures are measured when it runs, never kept."""
