"""Which predictions can be scored: a line a task, a file a kind."""

from collections.abc import Callable, Mapping

from corpusmill.jobs.evaluate.answers import question_answering
from corpusmill.jobs.evaluate.choices import multiple_choice
from corpusmill.jobs.evaluate.classification import text_classification, zero_shot
from corpusmill.jobs.evaluate.embeddings import embedding
from corpusmill.jobs.evaluate.masks import fill_mask
from corpusmill.jobs.evaluate.next_sentence import next_sentence
from corpusmill.jobs.evaluate.request import Kind, Request
from corpusmill.jobs.evaluate.spans import token_classification

KINDS: Mapping[str, Callable[[Request], Kind]] = {
    "embedding": embedding,
    "fill-mask": fill_mask,
    "multiple-choice": multiple_choice,
    "next-sentence-prediction": next_sentence,
    "question-answering": question_answering,
    "text-classification": text_classification,
    "token-classification": token_classification,
    "zero-shot-classification": zero_shot,
}
