"""What loops promise to other threads, and what they survive of them, with several threads at once."""
