"""Durable workflows and agents on Ray."""

__version__ = "0.1.0.dev0"
