"""The executor without Ray: tools in threads of this process, and in child processes of it.

Import its parts directly: `shoal.executors.inline.executor`, `shoal.executors.inline.node`.
"""
