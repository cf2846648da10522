"""Other systems on the same work: their pinned environments and the scripts that measure them."""
