"""The tool `complexity-meter`: the cyclomatic complexity of Python functions."""

from complexity_meter._measure import measure_complexity, measure_text

__all__ = ["measure_complexity", "measure_text"]
