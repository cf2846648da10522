"""The journal in one SQLite file. Import its parts directly: importing this package loads no SQL."""
