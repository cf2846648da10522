"""Assertions of the suites say what they compared."""

import pytest

pytest.register_assert_rewrite("shoal.testing")
