"""What a model's outputs become: one file a task, each a table row of the public contract.

TASKS is the whole registry: a new task is one file here and one line below.
"""

from corpusmill.pipeline.task import Task
from corpusmill.pipeline.tasks.embedding import EmbeddingTask
from corpusmill.pipeline.tasks.text_classification import TextClassificationTask

TASKS: dict[str, type[Task]] = {
    "embedding": EmbeddingTask,
    "text-classification": TextClassificationTask,
}
