"""Programs in which memory is short."""
