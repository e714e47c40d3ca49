"""Tasks, which turn a model's outputs into columns; one file per task.

TASKS is the whole registry: a new task is one file here and one line below.
"""

from collections.abc import Mapping
from typing import Any

from corpusmill.models import EmbeddingOptions
from corpusmill.pipeline.tasks.embedding import EmbeddingTask
from corpusmill.pipeline.tasks.fill_mask import FillMaskTask
from corpusmill.pipeline.tasks.multiple_choice import MultipleChoiceTask
from corpusmill.pipeline.tasks.next_sentence_prediction import NextSentencePredictionTask
from corpusmill.pipeline.tasks.question_answering import QuestionAnsweringTask
from corpusmill.pipeline.tasks.reranking import RerankingTask
from corpusmill.pipeline.tasks.sparse_embedding import SparseEmbeddingTask
from corpusmill.pipeline.tasks.task import Task
from corpusmill.pipeline.tasks.text_classification import TextClassificationTask
from corpusmill.pipeline.tasks.token_classification import TokenClassificationTask
from corpusmill.pipeline.tasks.token_embedding import TokenEmbeddingTask
from corpusmill.pipeline.tasks.zero_shot_classification import ZeroShotClassificationTask

TASKS: dict[str, type[Task]] = {
    "embedding": EmbeddingTask,
    "token-embedding": TokenEmbeddingTask,
    "sparse-embedding": SparseEmbeddingTask,
    "text-classification": TextClassificationTask,
    "reranking": RerankingTask,
    "zero-shot-classification": ZeroShotClassificationTask,
    "token-classification": TokenClassificationTask,
    "question-answering": QuestionAnsweringTask,
    "fill-mask": FillMaskTask,
    "multiple-choice": MultipleChoiceTask,
    "next-sentence-prediction": NextSentencePredictionTask,
}


def embedding_options(task: str, options: Mapping[str, Any]) -> EmbeddingOptions | None:
    """Return the options of an embedding head; None for other heads, which have no options."""
    if TASKS[task].head != "embedding":
        return None
    names = ("pooling", "normalize", "dimensions", "layer")
    return EmbeddingOptions(**{name: options.get(name) for name in names})
