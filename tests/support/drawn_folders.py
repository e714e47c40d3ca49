"""Checkpoint folders as people might have them, drawn at random: what is drawn, and how it is written.

The reference libraries write the folders. What a draw leaves out is as the library writes it by default, so
Hypothesis minimises a failure to the settings that matter.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentence_transformers
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer import modules as dense
from sentence_transformers.sparse_encoder import modules as sparse
from support.nasty_texts import TEXTS, VOCAB
from support.tiny_checkpoints import write_checkpoint
from torch import nn

Values = Mapping[str, Any]
Draw = st.SearchStrategy[Any]

WIDTH = 16
POSITIONS = 64
LONG = "they watch the old house all night and the water runs " * 8
PLAIN = ("the water runs to the old house", "good", "A good book, and a film!", LONG)
MASKED = ("the [MASK] runs", "[MASK] [MASK] of the house [MASK]", "no mask", "a[MASK]b [mask] [ MASK ]")

ACTIVATIONS = ("gelu", "relu", "silu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "tanh")
TRAINING = {"initializer_range": 0.5, "hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
TRAINING |= {"classifier_dropout": 0.5}
COMMON: dict[str, Sequence[Any]] = {
    "hidden_act": ACTIVATIONS,
    "layer_norm_eps": (1e-5, 1e-3),
    "type_vocab_size": (3,),
    "num_hidden_layers": (1,),
    **{name: (value,) for name, value in TRAINING.items()},
}
CONFIGS: dict[str, dict[str, Sequence[Any]]] = {
    "bert": COMMON,
    "distilbert": {
        "activation": ("gelu", "relu", "silu", "gelu_new"),
        "sinusoidal_pos_embds": (True,),
        "n_layers": (1,),
        "dropout": (0.5,),
        "seq_classif_dropout": (0.5,),
        "qa_dropout": (0.5,),
    },
    "squeezebert": COMMON
    | {f"{name}_groups": (1, 2) for name in ("q", "k", "v", "intermediate", "output")}
    | {"post_attention_groups": (2, 4)},
    "convbert": COMMON
    | {
        "head_ratio": (1,),
        "conv_kernel_size": (3, 5),
        "num_groups": (2,),
        "embedding_size": (8, 12),
        "summary_type": ("first", "mean"),
        "summary_use_proj": (True,),
        "summary_activation": ("tanh",),
    },
    "mobilebert": COMMON
    | {
        "hidden_act": ("relu", "gelu"),
        "trigram_input": (False,),
        "use_bottleneck": (False,),
        "use_bottleneck_attention": (True,),
        "key_query_shared_bottleneck": (False,),
        "num_feedforward_networks": (1, 2),
        "normalization_type": ("layer_norm",),
        "classifier_activation": (False,),
    },
}
"""Per architecture, values other than the default of what the model is built with, or trained with."""

SIZES: dict[str, dict[str, int]] = {"convbert": {"intermediate_size": 2 * WIDTH}}
"""What groups have to divide."""
OUTPUT_KEYS: dict[str, Sequence[Any]] = {
    "output_hidden_states": (True,),
    "output_attentions": (True,),
    "use_cache": (False,),
    "torch_dtype": ("float16",),
    "architectures": (None, ["Other"]),
    "finetuning_task": ("mnli",),
    "gradient_checkpointing": (True,),
    "_name_or_path": ("somewhere/else",),
    "transformers_version": ("3.0.2",),
    "pad_token_id": (3,),
    "task_specific_params": ({"text-classification": {"top_k": 2}},),
    "max_length": (7,),
    "num_beams": (3,),
    "tie_word_embeddings": (True,),
}
"""Values of config.json that are stated beside a model which was built without them."""

TOKENIZER_KEYS: dict[str, Sequence[Any]] = {
    "tokenizer_class": (
        "BertTokenizerFast",
        "DistilBertTokenizer",
        "ElectraTokenizerFast",
        "MobileBertTokenizer",
        "SqueezeBertTokenizerFast",
        "ConvBertTokenizer",
        None,
        "PreTrainedTokenizerFast",
    ),
    "do_lower_case": (False, True),
    "strip_accents": (False, True),
    "tokenize_chinese_chars": (False,),
    "model_max_length": (20, 10**30, None),
    "max_len": (17,),
    "truncation_side": ("left",),
    "padding_side": ("left",),
    "model_input_names": (
        ["input_ids", "attention_mask"],
        ["input_ids", "token_type_ids", "attention_mask"],
    ),
    "split_special_tokens": (True,),
    "do_basic_tokenize": (False,),
    "clean_up_tokenization_spaces": (False,),
    "additional_special_tokens": (["<ent>"],),
    "added_tokens_decoder": (
        {str(VOCAB.index("HELLO")): {"content": "HELLO", "special": False, "normalized": False}},
        {str(VOCAB.index("<ent>")): {"content": "<ent>", "special": True, "lstrip": True}},
    ),
    "sep_token": ("[unused1]",),
    "name_or_path": ("somewhere/else",),
    "special_tokens_map_file": ("/nowhere",),
}
FILES: dict[str, Sequence[Any]] = {
    "special_tokens_map": ({"cls_token": "<ent>"}, {"additional_special_tokens": ["HELLO"]}),
    "added_tokens": ({"<ent>": VOCAB.index("<ent>")},),
}
SIDES: tuple[tuple[str, ...], ...] = (("tokenizer.json", "vocab.txt"), ("tokenizer.json",), ("vocab.txt",))
POOLING = ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ("mean", "cls"))
FUNCTIONS = (nn.Tanh, nn.Identity, nn.ReLU, nn.GELU, nn.Sigmoid)
SCORES = (nn.Identity, nn.Sigmoid, nn.Tanh)
PROMPTS = {"query": "find the ", "passage": ""}
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
NLI = ("entailment", "neutral", "contradiction")
HEADS = {
    "text-classification": ("neg",),
    "token-classification": LABELS,
    "zero-shot-classification": NLI,
    "reranking": ("LABEL_0",),
}
"""The labels of a checkpoint for a task, from the first on."""
ENCODERS = ("embedding", "sparse-embedding")
LATER = {"squeezebert": ("next-sentence-prediction",), "convbert": ("next-sentence-prediction",)}
LATER |= {"distilbert": ("next-sentence-prediction",)}
"""Heads that an architecture has not got."""


@dataclass(frozen=True)
class DrawnFolder:
    """A folder, the texts that are read with it, and the options of the job.

    `renamed`: config.json has fewer names of labels than `num_labels`.
    """

    architecture: str
    task: str
    texts: list[str]
    pairs: list[str] | None = None
    seed: int = 0
    model: Values | None = None
    config: Values | None = None
    tokenizer: Values | None = None
    files: Values | None = None
    sides: tuple[str, ...] = SIDES[0]
    labels: tuple[str, ...] = ("neg", "pos")
    problem_type: str | None = None
    renamed: bool = False
    modules: Values | None = None
    options: Values | None = None

    @property
    def max_length(self) -> int | None:
        return (self.options or {}).get("max_length")


def drawn_folders(architecture: str) -> Draw:
    """Draw folders of an architecture: any task, any settings."""
    tasks = [
        "text-classification",
        "token-classification",
        "question-answering",
        "fill-mask",
        "zero-shot-classification",
        "multiple-choice",
        "next-sentence-prediction",
        "token-embedding",
        "reranking",
        *ENCODERS,
    ]
    return st.sampled_from([task for task in tasks if task not in LATER.get(architecture, ())]).flatmap(
        lambda task: _of_task(architecture, task)
    )


def _of_task(architecture: str, task: str) -> Draw:
    texts = st.sampled_from((*PLAIN, *TEXTS, *(MASKED if task == "fill-mask" else ())))
    if task in (
        "token-classification",
        "question-answering",
        "token-embedding",
    ):  # places in texts with accents are ours
        texts = st.sampled_from([text for text in (*PLAIN, *TEXTS) if text.isascii()])
    if task in ("zero-shot-classification", "question-answering"):  # the pipelines refuse an empty text
        texts = texts.filter(str.strip)
    # A question that leaves no room for the text is an error of the reference.
    second = st.sampled_from(PLAIN[:3]) if task == "question-answering" else texts
    rows = st.lists(st.tuples(texts, second), min_size=1, max_size=3)
    paired = {
        "text-classification": st.booleans(),
        "question-answering": st.just(True),
        "multiple-choice": st.just(True),
        "next-sentence-prediction": st.just(True),
        "reranking": st.just(True),
    }.get(task, st.just(False))
    labels, problem = st.just(HEADS.get(task, ("neg", "pos"))), st.none()
    if task == "text-classification":
        labels = st.sampled_from([("neg", "pos"), ("one",), ("a", "b", "c", "d")])
        problem = st.sampled_from([None, "regression", "multi_label_classification"])
    config = dict(OUTPUT_KEYS)
    if task in ENCODERS:
        # SentenceTransformer reads some of them as an output of another kind.
        del config["architectures"]
    return st.tuples(rows, paired).flatmap(
        lambda drawn: st.builds(
            DrawnFolder,
            architecture=st.just(architecture),
            task=st.just(task),
            texts=st.just([text for text, _ in drawn[0]]),
            pairs=st.just([pair for _, pair in drawn[0]] if drawn[1] else None),
            seed=st.integers(0, 3),
            model=some(CONFIGS[architecture]),
            config=some(config),
            tokenizer=some(TOKENIZER_KEYS),
            files=some(FILES),
            sides=st.sampled_from(SIDES),
            labels=labels,
            problem_type=problem,
            renamed=st.booleans(),
            modules=_modules(task),
            options=_options(task),
        )
    )


def some(values: Mapping[str, Sequence[Any]], most: int = 3) -> Draw:
    """Draw a few keys with one of their values each; none at first."""
    names = st.lists(st.sampled_from(sorted(values)), max_size=most, unique=True)
    return names.flatmap(lambda found: st.fixed_dictionaries({n: st.sampled_from(values[n]) for n in found}))


def _options(task: str) -> Draw:
    optional: dict[str, Draw] = {"max_length": st.sampled_from([16, 40])}
    required: dict[str, Draw] = {}
    if task == "text-classification":
        required["top_k"] = st.none()
    if task == "zero-shot-classification":
        required["candidate_labels"] = st.sampled_from([["sports", "news"], ["water"], ["a", "b, c", "good"]])
        optional |= {"multi_label": st.just(True), "hypothesis_template": st.just("it is {}")}
    if task == "token-classification":
        optional |= {"aggregation": st.sampled_from(["none", "first", "average", "max"])}
    if task == "fill-mask":
        optional["top_k"] = st.sampled_from([1, 3])
    return st.fixed_dictionaries(required, optional=optional)


def _modules(task: str) -> Draw:
    """Draw the modules of sentence-transformers; None: a plain folder of transformers."""
    library = {
        "prompts": st.just(PROMPTS),
        "default_prompt_name": st.sampled_from(["query", "passage"]),
    }
    transformer: dict[str, Draw] = {
        "max_seq_length": st.sampled_from([None, 12, 30]),
        "do_lower_case": st.just(True),
    }
    if task == "embedding":
        steps = st.sampled_from(["Dense", "LayerNorm", "Normalize", "Dropout"])
        optional = (
            library
            | transformer
            | {
                "pooling": st.sampled_from(POOLING),
                "include_prompt": st.just(False),
                "steps": st.lists(steps, max_size=3),
                "function": st.sampled_from(range(len(FUNCTIONS))),
                "bias": st.just(False),
                "truncate_dim": st.just(5),
                "similarity_fn_name": st.sampled_from(["dot", "euclidean"]),
            }
        )
    elif task == "sparse-embedding":
        optional = (
            library
            | transformer
            | {
                "activation": st.just("log1p_relu"),
                "strategy": st.just("sum"),
                "max_active_dims": st.just(4),
            }
        )
    elif task == "reranking":  # always stated: without, sentence-transformers applies a sigmoid
        optional = library | {"activation": st.sampled_from(range(len(SCORES)))}
        return st.fixed_dictionaries({}, optional=optional).map(_with_prompts)
    else:
        return st.none()
    return st.none() | st.fixed_dictionaries({}, optional=optional).map(_with_prompts)


def _with_prompts(modules: dict[str, Any]) -> dict[str, Any]:
    """A default prompt without prompts is refused by the library."""
    return {"prompts": PROMPTS} | modules if "default_prompt_name" in modules else modules


def write_folder(drawn: DrawnFolder, folder: Path) -> Path:
    """Write the folder with the reference libraries, then the stated settings."""
    head = {
        "zero-shot-classification": "text-classification",
        "reranking": "text-classification",
        "sparse-embedding": "fill-mask",
        "token-embedding": "base",
    }
    write_checkpoint(
        folder,
        drawn.architecture,
        head.get(drawn.task, drawn.task),
        seed=drawn.seed,
        width=WIDTH,
        labels=drawn.labels,
        problem_type=drawn.problem_type,
        vocab=VOCAB,
        max_positions=POSITIONS,
        **(SIZES.get(drawn.architecture, {}) | dict(drawn.model or {})),
    )
    if drawn.modules is not None:
        _write_modules(drawn.task, drawn.modules, folder)
    _edit(folder / "config.json", drawn.config or {})
    if drawn.renamed and drawn.task == "text-classification":
        names = {"num_labels": len(drawn.labels), "id2label": {"0": "only"}, "label2id": {"only": 0}}
        _edit(folder / "config.json", names)
    _edit(folder / "tokenizer_config.json", drawn.tokenizer or {})
    for name, values in (drawn.files or {}).items():
        _edit(folder / f"{name}.json", values)
    for name in SIDES[0]:
        if name not in drawn.sides:
            (folder / name).unlink(missing_ok=True)
    return folder


def _write_modules(task: str, modules: Values, folder: Path) -> None:
    settings = {
        name: modules[name]
        for name in (
            "prompts",
            "default_prompt_name",
            "truncate_dim",
            "similarity_fn_name",
            "max_active_dims",
        )
        if name in modules
    }
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".txt")}
    if task == "embedding":
        chain: list[nn.Module] = [dense.Transformer(str(folder)), *_dense_chain(modules)]
        model: Any = sentence_transformers.SentenceTransformer(modules=chain, device="cpu", **settings)
    elif task == "reranking":
        function = SCORES[modules.get("activation", 0)]()
        model = sentence_transformers.CrossEncoder(
            str(folder), device="cpu", activation_fn=function, **settings
        )
    else:
        pooling = sparse.SpladePooling(modules.get("strategy", "max"), modules.get("activation", "relu"))
        chain = [sparse.Transformer(str(folder), transformer_task="fill-mask"), pooling]
        model = sentence_transformers.SparseEncoder(modules=chain, device="cpu", **settings)
    model.save(str(folder), create_model_card=False)
    for name, content in before.items():  # the tokenizer as it was
        if name != "config.json":
            (folder / name).write_bytes(content)
    stated = {name: modules[name] for name in ("max_seq_length", "do_lower_case") if name in modules}
    _edit(folder / "sentence_bert_config.json", stated)


def _dense_chain(modules: Values) -> list[nn.Module]:
    pooling = dense.Pooling(
        WIDTH, modules.get("pooling", "mean"), include_prompt=modules.get("include_prompt", True)
    )
    width, steps = pooling.get_embedding_dimension(), []
    for step in modules.get("steps", ()):
        if step == "Dense":
            function = FUNCTIONS[modules.get("function", 0)]()
            steps.append(dense.Dense(width, 6, bias=modules.get("bias", True), activation_function=function))
            width = 6
        elif step == "LayerNorm":
            steps.append(dense.LayerNorm(width))
        else:
            steps.append(getattr(dense, step)())
    return [pooling, *steps]


def _edit(path: Path, values: Values) -> None:
    """State values in a JSON file; None removes the key."""
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    content |= values
    if values or not path.exists():
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None or k not in values}))
