"""What the tests of the language share."""

from language_scope import scope

__all__ = ["scope"]
