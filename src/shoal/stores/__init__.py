"""Journal, blobs and logs: SQLite and memory behind the ports. SQL is spoken here only."""
