"""The tools of the measured workflows: they do nothing, so that what is measured is what carries them.

Lies beside each measured workflow, as a user's module would; imported by workers, never by the suite.
"""

from shoal import continuation


def noop(x: object = None) -> object:
    """Return what was given."""
    return x


def count_down(n: int) -> object:
    """Answer with another step until there are none left."""
    return continuation("noop:count_down", {"n": n - 1}) if n > 1 else {"n": 0}
