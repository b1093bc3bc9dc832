"""Stock kube-proxy beside us, or before us: its tables are left alone, or taken over from."""
