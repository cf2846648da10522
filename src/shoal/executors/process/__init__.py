"""Attempts in child processes: clean ones, driven by one file of the standard library, and ones that import Shoal.

Import its parts directly: `shoal.executors.process.child`. `driver` runs in the child and must import nothing of Shoal.
"""
