"""What carries attempts to workers and back: Ray, in process, and clean child processes."""
