"""Small random checkpoints in Hugging Face layout, tokenizer included, for tests that need real files."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer

transformers.utils.logging.disable_progress_bar()

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CHARACTERS = tuple(chr(code) for code in range(33, 127))
_PIECES = tuple(f"##{character}" for character in _CHARACTERS if character.isalnum())
_ENDINGS = tuple(
    f"##{e}" for e in ("ed", "ing", "er", "ly", "es", "al", "ion", "ment", "able", "ness", "est")
)
_WORDS = re.findall(
    r"\w+",
    """
the of and to in a is that it for was on are as with his they be at one have this from or had by hot but
some what there we can out other were all your when up use word how said an each she which do their time if
will way about many then them would write like so these her long make thing see him two has look more day
could go come did my sound no most number who over know water than call first people may down side been now
find any new work part take get place made live where after back little only round man year came show every
good me give our under name very through just form much great think say help low line before turn cause same
mean differ move right boy old too does tell sentence set three want air well also play small end put home
read hand port large spell add even land here must big high such follow act why ask men change went light
kind off need house picture try us again animal point mother world near build self earth father head stand
own page should country found answer school grow study still learn plant cover food sun four thought let
keep eye never last door between city tree cross since hard start might story saw far sea draw left late run
while press close night real life few stop open seem together next white children begin got walk example
ease paper often always music those both mark book letter until mile river car feet care second group carry
took rain eat room friend began idea fish mountain north once base hear horse cut sure watch color face wood
main film movie bad love hate terrible wonderful boring brilliant data file value list
""",
)
VOCABULARY = tuple(dict.fromkeys((*SPECIAL_TOKENS, *_CHARACTERS, *_PIECES, *_ENDINGS, *_WORDS)))

POOLING_FLAGS = {
    "cls_token": "cls",
    "max_tokens": "max",
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean_tokens": "weightedmean",
    "lasttoken": "lasttoken",
}
CLASS_PREFIXES = {
    "bert": "Bert",
    "convbert": "ConvBert",
    "distilbert": "DistilBert",
    "mobilebert": "MobileBert",
    "squeezebert": "SqueezeBert",
}
CLASS_SUFFIXES = {
    "base": "Model",
    "embedding": "Model",
    "sparse-embedding": "ForMaskedLM",
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "fill-mask": "ForMaskedLM",
    "multiple-choice": "ForMultipleChoice",
    "next-sentence-prediction": "ForNextSentencePrediction",
    "pretraining": "ForPreTraining",
}
# Without norms between them, MobileBERT's layers would grow until its tanh pooler told nothing any more.
DEVIATIONS = {"mobilebert": 0.1}


def write_checkpoint(
    folder: Path,
    architecture: str,
    task: str,
    *,
    seed: int = 0,
    width: int = 32,
    layers: int = 2,
    labels: Sequence[str] = ("neg", "pos"),
    problem_type: str | None = None,
    vocab: Sequence[str] = VOCABULARY,
    sentence_transformers: bool = False,
    pooling: str = "mean",
    splade: Mapping[str, object] | None = None,
    projection: int | None = None,
    max_positions: int = 128,
    **config_values: object,
) -> Path:
    """Writes config, weights and tokenizer, and returns the folder.

    The weights are large enough that every part of the model shows in its output. `projection` adds a 2_Dense
    of that many features to the sentence-transformers files, whose max_seq_length is half of `max_positions`;
    `splade` makes them a sparse encoder's, with these values in SpladePooling's config.
    `config_values` go to transformers' config class as they are.
    """
    prefix = CLASS_PREFIXES[architecture]
    config = getattr(transformers, f"{prefix}Config")(
        **(_sizes(architecture, width=width, layers=layers) | config_values),
        vocab_size=len(vocab),
        max_position_embeddings=max_positions,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type=problem_type,
    )
    model = getattr(transformers, prefix + CLASS_SUFFIXES[task])(config)
    _fill(model, seed=seed, deviation=DEVIATIONS.get(architecture, 0.2))
    model.save_pretrained(folder)
    _write_tokenizer(folder, vocab, max_positions=max_positions)
    if splade is not None:
        _write_sparse_files(folder, splade, max_length=max_positions // 2)
    if sentence_transformers:
        _write_sentence_files(folder, width=width, pooling=pooling, max_length=max_positions // 2)
        _write_modules(folder, ["Transformer", "Pooling", *(["Dense"] if projection else []), "Normalize"])
        if projection:
            _write_dense(folder / "2_Dense", width=width, projection=projection, seed=seed)
    return folder


def _sizes(architecture: str, *, width: int, layers: int) -> dict[str, object]:
    heads = max(1, width // 8)
    if architecture == "distilbert":
        return {"dim": width, "n_layers": layers, "n_heads": heads, "hidden_dim": 2 * width + 5}
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    if architecture == "squeezebert":  # groups divide every width
        return sizes | {"intermediate_size": 2 * width, "embedding_size": width}
    if architecture == "mobilebert":
        sizes |= {"embedding_size": width // 2, "intra_bottleneck_size": width // 2}
        return sizes | {"num_attention_heads": max(1, width // 16), "intermediate_size": 2 * width + 5}
    if architecture == "convbert":
        sizes |= {"embedding_size": width, "pad_token_id": 0}
    return sizes | {"intermediate_size": 2 * width + 5}


@torch.no_grad()
def _fill(module: torch.nn.Module, *, seed: int, deviation: float = 0.2) -> None:
    """Normal weights, around 1 for the scales of norms."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        parameter.normal_(0.0, deviation, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            parameter.add_(1.0)


def _write_tokenizer(folder: Path, vocab: Sequence[str], *, max_positions: int) -> None:
    tokenizer = BertWordPieceTokenizer({token: index for index, token in enumerate(vocab)}, lowercase=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    named = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": max_positions}
    _write_json(folder / "tokenizer_config.json", settings | named)


def _write_modules(folder: Path, kinds: Sequence[str], *, package: str = "models") -> None:
    """modules.json as sentence-transformers 2 to 4 write it."""
    paths = ["", *(f"{index}_{kind}" for index, kind in enumerate(kinds) if index)]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.{package}.{kind}"}
        for index, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    _write_json(folder / "modules.json", modules)


def _write_sentence_files(folder: Path, *, width: int, pooling: str, max_length: int) -> None:
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    modes = {f"pooling_mode_{flag}": pooling == name for flag, name in POOLING_FLAGS.items()}
    _write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})


def _write_sparse_files(folder: Path, splade: Mapping[str, object], *, max_length: int) -> None:
    """As sentence-transformers 5.0 to 5.3 write them."""
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    _write_json(folder / "1_SpladePooling" / "config.json", dict(splade))
    _write_modules(folder, ["MLMTransformer", "SpladePooling"], package="sparse_encoder.models")


def _write_dense(folder: Path, *, width: int, projection: int, seed: int) -> None:
    linear = torch.nn.Linear(width, projection)
    _fill(linear, seed=seed + 1)
    _write_json(
        folder / "config.json",
        {
            "in_features": width,
            "out_features": projection,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    )
    tensors = {f"linear.{name}": value.detach() for name, value in linear.named_parameters()}
    save_file(tensors, folder / "model.safetensors")


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
