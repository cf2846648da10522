"""The tool `report-writer`: a Markdown report on a source tree, with charts."""

from report_writer._report import write_report

__all__ = ["write_report"]
