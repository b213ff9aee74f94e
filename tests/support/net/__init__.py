"""Sockets, pipes, datagrams and TLS for tests: descriptors, protocols and peers."""
