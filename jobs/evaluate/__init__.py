"""Evaluation of a finished output's predictions against a column that the job kept.

    from corpusmill.jobs.evaluate import evaluate
    evaluate("out/reviews", labels="stars")

Data files are read one at a time, and only the columns that are needed. A task's scores are one file here and
one line in `evaluation.py`.
"""

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.evaluation import Evaluation, evaluate

__all__ = ["EvaluateError", "Evaluation", "evaluate"]
