"""Attempts as Ray tasks.

Import its parts directly (`cluster`, `executor`, `node`): what a worker imports must not load what a driver needs.
"""
