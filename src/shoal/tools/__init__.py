"""Finding and calling tools; the built-in ones."""
