"""Connections, servers, datagram endpoints and the socket calls: what a connection pays for once.

- `connect`, `attempts`: `create_connection` and its relatives
- `listen`, `server`: servers
- `datagram`: datagram endpoints
- `resolve`, `lookups`: names and addresses
- `binding`: what is done before a socket is bound
- `sockets`: the `sock_*` calls
- `sendfile`: `sendfile` and `sock_sendfile`
- `tls`: `start_tls` and what TLS needs of Python
- `refusals`: the methods of asyncio's transports that ours refuse as asyncio's do
- `streams`: readers and writers of ours
"""
