"""Pure, incremental decisions: state and one change in, new state and actions out. No I/O, no Ray, no SQL."""
