"""The benchmark suite: Shoal and bare Ray side by side, and other systems. `make bench`; see docs/performance.md."""
