"""How good a guard is on data whose answers are known.

Figures need the extra `evaluation`; reading data sets does not.
"""

from llama_guard_core.evaluation.comparison import Comparison, compared
from llama_guard_core.evaluation.dataset import Dataset, Example, read_dataset
from llama_guard_core.evaluation.figures import Evaluation, evaluated
from llama_guard_core.evaluation.mapping import DatasetMapping, shipped_mappings
from llama_guard_core.evaluation.report import as_html, as_markdown
from llama_guard_core.evaluation.runs import aevaluate, evaluate, report_of, texts_of

__all__ = [
    "Comparison",
    "Dataset",
    "DatasetMapping",
    "Evaluation",
    "Example",
    "aevaluate",
    "as_html",
    "as_markdown",
    "compared",
    "evaluate",
    "evaluated",
    "read_dataset",
    "report_of",
    "shipped_mappings",
    "texts_of",
]
