"""Names from other tools, and the names here: keys of the job file, and tasks."""

import difflib
from collections.abc import Sequence

FAMILIAR_KEYS: dict[str, tuple[str | None, str]] = {
    "batch_size": ("models[].tokens_per_batch", "a batch is cut by its tokens, not by its texts"),
    "per_device_batch_size": ("models[].tokens_per_batch", "a batch is cut by its tokens, not by its texts"),
    "model": ("models[].checkpoint", "each entry of models names its checkpoint"),
    "model_name": ("models[].checkpoint", "each entry of models names its checkpoint"),
    "model_id": ("models[].checkpoint", "each entry of models names its checkpoint"),
    "model_path": ("models[].checkpoint", "each entry of models names its checkpoint"),
    "model_name_or_path": ("models[].checkpoint", "each entry of models names its checkpoint"),
    "pretrained_model_name_or_path": ("models[].checkpoint", "each entry of models names its checkpoint"),
    "revision": ("models[].checkpoint", "the revision follows the name: hf://org/name@revision"),
    "tokenizer": (None, "the tokenizer is the one in the checkpoint's folder"),
    "device_map": ("models[].device", "auto, cpu or cuda; workers are placed by Ray"),
    "pipeline": ("models[].task", "a task has the name of its pipeline"),
    "torch_dtype": ("models[].dtype", "auto, float32, bfloat16, float16 or int8"),
    "precision": ("models[].dtype", "auto, float32, bfloat16, float16 or int8"),
    "quantization": ("models[].dtype", "int8 computes in 8 bits; output_dtype stores vectors in 8 bits"),
    "fp16": ("models[].dtype", "write dtype: float16"),
    "bf16": ("models[].dtype", "write dtype: bfloat16"),
    "pools": ("models[].pool or models[].device", "a model has one pool, on one kind of device"),
    "num_workers": ("models[].pool.max_workers", "a pool grows to at most that many workers"),
    "concurrency": ("models[].pool.max_workers", "a pool grows from min_workers to max_workers"),
    "parallelism": ("models[].pool.max_workers", "a pool grows from min_workers to max_workers"),
    "replicas": ("models[].pool.max_workers", "a pool grows from min_workers to max_workers"),
    "num_gpus": ("models[].pool.gpus", "GPUs of one worker"),
    "num_cpus": ("models[].pool.cpus", "CPUs of one worker"),
    "max_seq_length": ("models[].max_length", "in tokens, special tokens included"),
    "max_tokens": ("models[].max_length", "in tokens, special tokens included"),
    "truncation": ("models[].long_text", "truncate is the default; window reads the whole text"),
    "doc_stride": ("models[].stride", "tokens that neighbouring windows share"),
    "overlap": ("models[].stride", "tokens that neighbouring windows share"),
    "chunk_size": ("models[].max_length", "with long_text: window, the length of a window in tokens"),
    "padding": (None, "nothing is padded: texts are packed"),
    "return_all_scores": ("models[].top_k", "top_k: null lists all labels"),
    "aggregation_strategy": ("models[].aggregation", "none, simple, first, average or max"),
    "normalize_embeddings": ("models[].normalize", "true or false"),
    "truncate_dim": ("models[].dimensions", "the number of leading dimensions to keep"),
    "labels": ("models[].candidate_labels", "the labels of zero-shot-classification"),
    "columns": ("input.keep", "columns copied to the output; the one with the text is input.text"),
    "keep_columns": ("input.keep", "columns copied to the output"),
    "id_column": ("input.keep", "columns copied to the output"),
    "text_column": ("input.text", "the column with the text"),
    "text_field": ("input.text", "the column with the text"),
    "data_files": ("input.path", "a file, a folder, a glob, or a list of them"),
    "dataset": ("input.path", "a file, a folder, a glob, or a list of them"),
    "input_path": ("input.path", "a file, a folder, a glob, or a list of them"),
    "output_path": ("output.path", "the folder to write"),
    "output_dir": ("output.path", "the folder to write"),
    "file_format": ("input.format or output.format", "auto, parquet or jsonl; arrow or parquet"),
    "on_error": ("input.on_bad_row", "reject or fail"),
    "chunksize": ("input.rows_per_unit", "rows that are read and committed together"),
    "partition_size": ("input.rows_per_unit", "rows that are read and committed together"),
}
"""Key -> (the field with this meaning, or None; a hint)."""

FAMILIAR_TASKS: dict[str, tuple[str, ...]] = {
    "ner": ("token-classification",),
    "named-entity-recognition": ("token-classification",),
    "pos": ("token-classification",),
    "tagging": ("token-classification",),
    "sentiment": ("text-classification",),
    "sentiment-analysis": ("text-classification",),
    "classification": ("text-classification",),
    "sequence-classification": ("text-classification",),
    "regression": ("text-classification",),
    "text-pair-classification": ("text-classification",),
    "nli": ("text-classification",),
    "feature-extraction": ("embedding", "token-embedding"),
    "embeddings": ("embedding",),
    "embed": ("embedding",),
    "text-embedding": ("embedding",),
    "text-embeddings-inference": ("embedding",),
    "sentence-embedding": ("embedding",),
    "sentence-similarity": ("embedding",),
    "retrieval": ("embedding",),
    "colbert": ("token-embedding",),
    "late-interaction": ("token-embedding",),
    "splade": ("sparse-embedding",),
    "sparse-encoder": ("sparse-embedding",),
    "zero-shot": ("zero-shot-classification",),
    "qa": ("question-answering",),
    "extractive-qa": ("question-answering",),
    "squad": ("question-answering",),
    "masked-lm": ("fill-mask",),
    "mlm": ("fill-mask",),
    "mask-filling": ("fill-mask",),
    "nsp": ("next-sentence-prediction",),
    "rerank": ("reranking",),
    "reranker": ("reranking",),
    "text-ranking": ("reranking",),
    "cross-encoder": ("reranking",),
}
"""Name in other tools -> the tasks here, the best first; the message names the first that exists."""

NOT_OFFERED = {
    "summarization": "writes text",
    "translation": "writes text",
    "text-generation": "writes text",
    "text2text-generation": "writes text",
    "conversational": "writes text",
    "chat": "writes text",
    "document-question-answering": "reads images",
    "visual-question-answering": "reads images",
    "image-classification": "reads images",
    "image-to-text": "reads images",
    "object-detection": "reads images",
    "automatic-speech-recognition": "reads sound",
    "audio-classification": "reads sound",
    "table-question-answering": "reads tables",
}
"""Tasks of other tools that text encoders cannot do, and the reason."""


def _normalized(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def hint_of_key(key: str) -> tuple[str | None, str] | None:
    """Return the field for a key of another tool, and a hint; None for an unknown key."""
    return FAMILIAR_KEYS.get(_normalized(key).replace("-", "_"))


def task_hint(name: str, known: Sequence[str]) -> str:
    """Return a hint for an unknown task; "" if no known task is similar."""
    plain = _normalized(name)
    if plain in known:
        return f"; did you mean {plain}?"
    if plain in NOT_OFFERED:
        return f"; {plain} {NOT_OFFERED[plain]} and is not offered: a text encoder cannot do it"
    same_tasks = [task for task in FAMILIAR_TASKS.get(plain, ()) if task in known]
    if same_tasks:
        return f"; {plain} is called {same_tasks[0]} here"
    near = difflib.get_close_matches(plain, [*known, *FAMILIAR_TASKS], n=1, cutoff=0.7)
    if not near:
        return ""
    candidates = (near[0], *FAMILIAR_TASKS.get(near[0], ()))
    return f"; did you mean {next(task for task in candidates if task in known)}?"
