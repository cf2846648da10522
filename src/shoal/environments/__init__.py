"""Locks, builds and caches of the environments in which tools run."""
