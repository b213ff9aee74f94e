"""The topics of sockets: connections, servers, datagrams, pipes, TLS."""
