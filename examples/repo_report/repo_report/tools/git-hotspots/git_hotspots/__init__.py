"""The tool `git-hotspots`: the files that changed most often in a git history."""

from git_hotspots._history import find_hotspots

__all__ = ["find_hotspots"]
