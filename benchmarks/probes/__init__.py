"""One measurement in a process of its own: fresh memory, no worker left over. Each prints one line of JSON."""
