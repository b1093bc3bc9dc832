"""What has to do with sockets, threads and files: connections, WebSockets, log files. `serve.py` puts it together."""
