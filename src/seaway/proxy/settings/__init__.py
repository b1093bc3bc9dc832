"""KubeProxyConfiguration: the file and the flags of a kube-proxy, as far as they mean something here."""
