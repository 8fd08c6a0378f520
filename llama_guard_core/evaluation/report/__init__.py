"""An evaluation for people: one HTML file, or Markdown for a pull request, rendered from its JSON values."""

from llama_guard_core.evaluation.report.html import as_html
from llama_guard_core.evaluation.report.markdown import as_markdown

__all__ = ["as_html", "as_markdown"]
