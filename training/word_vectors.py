"""Word vectors from statistics of the training texts, for a model with too little text to learn them."""

import numpy as np
import torch
from scipy import sparse  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_svd


def cooccurrence_vectors(ids: list[torch.Tensor], *, vocabulary: int, width: int, reach: int) -> np.ndarray:
    """Return vectors that are similar for words with similar neighbours; their standard deviation is 1."""
    pairs = [(x[1 : -1 - k], x[1 + k : -1], k) for x in ids for k in range(1, reach + 1) if len(x) > k + 2]
    rows, columns = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    weights = np.concatenate([np.full(len(left), 1 / k) for left, _, k in pairs])
    counts = sparse.coo_matrix((weights, (rows, columns)), shape=(vocabulary, vocabulary)).tocsr()
    counts = (counts + counts.T).tocoo()
    total = np.asarray(counts.sum(axis=1)).ravel() + 1e-9
    context = total**0.75 / (total**0.75).sum()
    information = np.maximum(0, np.log(counts.data / (total[counts.row] * context[counts.col])))
    matrix = sparse.coo_matrix((information, (counts.row, counts.col)), shape=counts.shape).tocsr()
    vectors, values, _ = randomized_svd(matrix, width, random_state=0)
    return _standardized(vectors * np.sqrt(values))


def section_vectors(
    ids: list[torch.Tensor], labels: np.ndarray, *, vocabulary: int, strength: float
) -> np.ndarray:
    """Return each word's weights in a linear model of the sections; their standard deviation is 1.

    `strength` is the linear model's inverse regularization.
    """
    rows = np.repeat(np.arange(len(ids)), [len(x) - 2 for x in ids])
    columns = np.concatenate([x[1:-1] for x in ids])
    counts = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(ids), vocabulary))
    weighting = TfidfTransformer(sublinear_tf=True)
    frequencies = weighting.fit_transform(counts.tocsr())
    linear = LogisticRegression(C=strength, max_iter=200).fit(frequencies, labels)
    return _standardized((linear.coef_ * weighting.idf_).T)


def _standardized(vectors: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = vectors / vectors.std()
    return scaled
