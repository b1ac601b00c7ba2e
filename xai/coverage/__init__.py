"""Is this condition in the training set, and is it a quality problem? Tables in, tables out; no torch."""

from xai.coverage.analyse import Analysis, analyse
from xai.coverage.bins import bin_columns
from xai.coverage.cases import analyse_cases, unanswered
from xai.coverage.promise import Answer, promise, promise_of_parts

__all__ = ["Analysis", "Answer", "analyse", "analyse_cases", "bin_columns", "promise", "promise_of_parts", "unanswered"]
