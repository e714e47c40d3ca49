"""Reranking: how well the scores order the passages of each query.

`ndcg@10` is that of scikit-learn and trec_eval: the gain of a passage is its relevance (Järvelin and
Kekäläinen 2002). Passages with equal scores share their ranks, as in scikit-learn (McSherry and Najork 2008).
For `mrr@10` a passage is relevant if its relevance is above 0. If scores are equal, relevant passages come
last.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.label_scores import as_numbers, is_number, is_text
from corpusmill.jobs.evaluate.request import Metrics, Request, Scoring

Array = np.ndarray[Any, Any]

DEPTH = 10


class RankingScores:
    """Means over the queries, computed from all rows: 20 bytes per row, and each file's different queries.

    A query without a relevant passage counts as 0 in both.
    """

    def __init__(self) -> None:
        self._queries: list[pa.DictionaryArray] = []
        self._scores: list[Array] = []
        self._relevance: list[Array] = []

    def add(self, rows: pa.Table) -> None:
        """Keep scores, relevance and queries; refuse a row without a query, and relevance below 0."""
        queries, relevance = rows["query"].combine_chunks(), rows["label"].to_numpy()
        if queries.null_count:
            raise EvaluateError("expected the query of each row, got null").at("--queries")
        if relevance.min() < 0:
            raise EvaluateError(f"expected relevance from 0 up, got {relevance.min():g}").at("--labels")
        plain = queries.dictionary_decode() if pa.types.is_dictionary(queries.type) else queries
        self._queries.append(plain.dictionary_encode())
        self._scores.append(rows["prediction"].to_numpy().astype(np.float64))
        self._relevance.append(relevance)

    def metrics(self) -> Metrics:
        """Return the number of queries and the means."""
        queries = pa.chunked_array(self._queries).unify_dictionaries().combine_chunks().indices.to_numpy()
        scores, relevance = np.concatenate(self._scores), np.concatenate(self._relevance)
        best = np.lexsort((-relevance, queries))
        starts = np.flatnonzero(np.diff(queries[best], prepend=-1))
        ranks = np.arange(len(queries)) - np.repeat(starts, np.diff(starts, append=len(queries)))
        ideal = np.add.reduceat(relevance[best] * discounts(ranks), starts)
        gain = np.add.reduceat(_gains(queries, scores, relevance) * discounts(ranks), starts)
        ndcg = np.divide(gain, ideal, out=np.zeros(len(starts)), where=ideal > 0)
        # The first relevant passage, if irrelevant ones come before it where scores are equal.
        order = np.lexsort((relevance > 0, -scores, queries))
        first = np.minimum.reduceat(np.where(relevance[order] > 0, ranks, DEPTH), starts)
        reciprocal = np.where(first < DEPTH, 1 / (first + 1), 0.0)
        return {
            "queries": len(starts),
            "without_relevant": int((ideal == 0).sum()),
            f"ndcg@{DEPTH}": float(ndcg.mean()),
            f"mrr@{DEPTH}": float(reciprocal.mean()),
        }


def discounts(ranks: Array) -> Array:
    """Return the weight of each rank, counted from 0; 0 from DEPTH on."""
    weights: Array = np.where(ranks < DEPTH, 1 / np.log2(ranks + 2), 0.0)
    return weights


def _gains(queries: Array, scores: Array, relevance: Array) -> Array:
    """Return the relevance at each rank of each query, the mean of those with equal scores."""
    order = np.lexsort((-scores, queries))
    new = (np.diff(queries[order], prepend=-1) != 0) | (np.diff(scores[order], prepend=np.nan) != 0)
    starts = np.flatnonzero(new)
    counts = np.diff(starts, append=len(order))
    means: Array = np.add.reduceat(relevance[order], starts) / counts
    return np.repeat(means, counts)


def reranking(request: Request) -> Scoring:
    """Return the scoring of `score` against numbers or booleans: the relevance of a passage to its query."""
    if not is_number(request.label_type) and not pa.types.is_boolean(request.label_type):
        raise request.refuse_labels("numbers from 0 up, or booleans,")
    kind = request.output.schema.field(request.query_column()).type
    if not is_text(kind) and not pa.types.is_integer(kind):
        raise EvaluateError(
            f"expected strings or integers that name queries, got column {request.query_column()!r} of type "
            f"{kind}"
        ).at("--queries")
    return Scoring(request.column("score"), RankingScores(), labels=_relevance, uses=("queries",))


def _relevance(column: pa.Array) -> pa.Array:
    return as_numbers(column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column)
