"""The frozen values that everything else speaks in. No I/O, nothing of Shoal but errors."""
