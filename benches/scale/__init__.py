"""What many connections, timers, tasks and hours do to a loop."""
