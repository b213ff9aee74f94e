"""Which modules of `test.test_asyncio` exist, and which of them the loop can be put into."""

from __future__ import annotations

# Every module of the package on 3.10 to 3.15; those that an interpreter lacks are left out.
MODULES = (
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_free_threading",
    "test_futures",
    "test_futures2",
    "test_graph",
    "test_locks",
    "test_pep492",
    "test_protocols",
    "test_queues",
    "test_runners",
    "test_selector_events",
    "test_sendfile",
    "test_server",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_staggered",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_tools",
    "test_transports",
    "test_unix_events",
    "test_waitfor",
)

# Windows' own, and the proactor, which only Windows has.
ELSEWHERE = ("test_proactor_events", "test_windows_events", "test_windows_utils")

# The long ones are cut up so that two jobs end together.
CHUNK = 120
