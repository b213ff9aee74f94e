"""Connections, servers, datagram endpoints and socket calls: the work of each connection.

- `connect`, `attempts`: `create_connection` and its relatives
- `listen`, `server`: servers
- `datagram`: datagram endpoints
- `resolve`, `lookups`: names and addresses
- `binding`: preparing sockets and paths for bind
- `sockets`: the `sock_*` calls
- `sendfile`: `sendfile` and `sock_sendfile`
- `tls`: `start_tls`, TLS options and contexts
- `streams`, `native_streams`: native readers and writers, also under asyncio's names
"""
