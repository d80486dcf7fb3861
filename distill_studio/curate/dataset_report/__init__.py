"""The report on a dataset: what came in, what went and why, what stays, and how it was checked.

`records` says what is known, `markdown` and `page` write it down; all of it is pure.
"""

from distill_studio.curate.dataset_report.markdown import report_markdown
from distill_studio.curate.dataset_report.page import report_body, report_page
from distill_studio.curate.dataset_report.records import DatasetReport

__all__ = ["DatasetReport", "report_body", "report_markdown", "report_page"]
