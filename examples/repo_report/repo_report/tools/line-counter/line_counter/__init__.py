"""The tool `line-counter`: lines of code, comment and blank lines of source files, by language."""

from line_counter._count import count_lines, count_text

__all__ = ["count_lines", "count_text"]
