"""The settings of a tokenizer that are stated outside tokenizer.json and vocab.txt.

They are read as transformers 5.23 reads them. The class is that of tokenizer_config.json, else that of
config.json. In a folder of sentence-transformers, the tokenizer's arguments of the Transformer's file
(`tokenizer_args`, since version 5.4 `processor_kwargs`) override tokenizer_config.json.
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from corpusmill.pipeline.errors import TokenizerError

BERT_CLASSES = {
    "BertTokenizer": True,
    "ConvBertTokenizer": True,
    "DPRContextEncoderTokenizer": True,
    "DPRQuestionEncoderTokenizer": True,
    "DPRReaderTokenizer": False,
    "DistilBertTokenizer": False,
    "ElectraTokenizer": True,
    "LayoutLMTokenizer": True,
    "LxmertTokenizer": True,
    "MobileBertTokenizer": True,
    "SqueezeBertTokenizer": True,
}
"""The classes with BERT's rules, without the ending `Fast`: whether they give token types."""
GENERIC_CLASSES = {"PreTrainedTokenizer": False, "TokenizersBackend": False}
"""The classes that stand for tokenizer.json itself."""
FILE_CLASSES = GENERIC_CLASSES | {
    "AlbertTokenizer": False,
    "CamembertTokenizer": False,
    "DebertaV2Tokenizer": True,
    "GPT2Tokenizer": False,
    "HerbertTokenizer": False,
    "MPNetTokenizer": False,
    "RobertaTokenizer": False,
    "XLMRobertaTokenizer": False,
}
"""The classes whose tokenizer.json is loaded without changes: whether they give token types."""
CLASS_SETTINGS = {
    "AlbertTokenizer": ("do_lower_case", "keep_accents", "add_prefix_space"),
    "CamembertTokenizer": ("add_prefix_space",),
    "DebertaV2Tokenizer": ("do_lower_case", "split_by_punct", "add_prefix_space"),
    "GPT2Tokenizer": ("add_prefix_space",),
    "MPNetTokenizer": ("do_lower_case", "strip_accents", "tokenize_chinese_chars"),
    "RobertaTokenizer": ("add_prefix_space",),
    "XLMRobertaTokenizer": ("add_prefix_space",),
}
"""The settings of these classes that transformers 5 builds a tokenizer from, beside its tokenizer.json."""
SENTENCE_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""The names of the Transformer's file of sentence-transformers; the first that is there counts."""
OTHER_FILES = ("config.json", *SENTENCE_FILES)
"""The files that belong to other parts of a checkpoint too, and may state a setting of the tokenizer."""
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
UNLIMITED = 10**9
"""Least `model_max_length` that means "no limit"."""


@dataclass(frozen=True)
class TokenizerSettings:
    """The stated settings: `config` is tokenizer_config.json, overridden by `arguments`.

    `class_name` is without the ending `Fast`, and "" if no file states one; `stated_in` is that file.
    `lowercase`: texts are lower-cased before the tokenizer's own normalization.
    """

    folder: str
    config: dict[str, Any]
    arguments: dict[str, Any]
    class_name: str
    stated_in: str
    lowercase: bool

    @property
    def gives_token_types(self) -> bool:
        """Whether the model gets the token types of the tokenizer; else all are 0."""
        names = self.config.get("model_input_names")
        if names is None:
            return (BERT_CLASSES | FILE_CLASSES)[self.class_name or "BertTokenizer"]
        return "token_type_ids" in names

    @cached_property
    def cuts_left(self) -> bool:
        """Whether truncation keeps the end of a text instead of its beginning."""
        side = self.config.get("truncation_side")
        if side is None:
            content = read_json(os.path.join(self.folder, "tokenizer.json")) or {}
            side = str((content.get("truncation") or {}).get("direction", "right")).lower()
        if side not in ("left", "right"):
            raise TokenizerError(
                f"{self.folder}/tokenizer_config.json: truncation_side: expected left or right, got {side!r}"
            )
        return bool(side == "left")

    @property
    def max_length(self) -> int | None:
        """The stated token limit; `max_len` is its name in transformers 1 and 2."""
        limit = self.config.get("model_max_length", self.config.get("max_len"))
        return int(limit) if isinstance(limit, (int, float)) and 0 < limit < UNLIMITED else None

    def check(self) -> None:
        """Refuse a class that this version cannot build, and tokenizer files of other names."""
        others = [name for name in self.config.get("fast_tokenizer_files") or () if name != "tokenizer.json"]
        if others:
            raise TokenizerError(
                f"{self.folder}/tokenizer_config.json: fast_tokenizer_files: expected tokenizer.json alone, "
                f"got {', '.join(map(str, others))}; rename the right one to tokenizer.json, remove the key"
            )
        if self.class_name in ("", *BERT_CLASSES, *FILE_CLASSES):
            return
        code = " (code of the checkpoint, which is never run)" if "auto_map" in self.config else ""
        raise TokenizerError(
            f"{self.stated_in}: tokenizer_class: expected PreTrainedTokenizerFast, "
            f"{', '.join((*BERT_CLASSES, *list(FILE_CLASSES)[len(GENERIC_CLASSES) :]))}; "
            f"got {self.class_name!r}{code}; if a tokenizer.json gives the same tokens, put it into the "
            "folder and state PreTrainedTokenizerFast"
        )

    def notes(self) -> tuple[str, ...]:
        """Return a note for each stated setting that has no effect, or another than in transformers 5."""
        config, where = self.config, f"{self.folder}/tokenizer_config.json"
        found = {
            f"auto_map: code of the checkpoint is never run; {self.class_name or 'BertTokenizer'} is used, "
            "as in transformers without trust_remote_code": "auto_map" in config,
            "do_basic_tokenize: false has no effect, as in transformers 5 and in fast tokenizers before": (
                config.get("do_basic_tokenize") is False
            ),
            "never_split: these words stay whole, as in the slow tokenizers of transformers 4; "
            "transformers 5 ignores it": bool(config.get("never_split")),
            "clean_text: false keeps control characters, as in transformers 4; transformers 5 ignores it": (
                config.get("clean_text") is False
            ),
            "wordpieces_prefix begins the later pieces of a word, as in transformers 3; "
            "transformers 5 ignores it": config.get("wordpieces_prefix", "##") != "##",
        }
        return tuple(f"{where}: {note}" for note, holds in found.items() if holds)


def read_settings(folder: str, *, sentence: bool = False) -> TokenizerSettings:
    """Read the settings of a folder; `sentence`: sentence-transformers' own file there counts."""
    config = read_json(os.path.join(folder, "tokenizer_config.json")) or {}
    module = _transformer_file(folder) if sentence else {}
    arguments = dict(module.get("processor_kwargs") or module.get("tokenizer_args") or {})
    stated_in, name = f"{folder}/tokenizer_config.json", config.get("tokenizer_class")
    if name is None:
        stated_in = f"{folder}/config.json"
        name = (read_json(stated_in) or {}).get("tokenizer_class")
    if module.get("max_seq_length") is not None:
        arguments.setdefault("model_max_length", module["max_seq_length"])
    return TokenizerSettings(
        folder,
        config | arguments,
        arguments,
        str(name or "").removesuffix("Fast"),
        stated_in,
        module.get("do_lower_case") is True,
    )


def stated_elsewhere(folder: str, *, sentence: bool) -> dict[str, Any]:
    """Return what files that do not belong to the tokenizer alone state about its tokens."""
    settings = read_settings(folder, sentence=sentence)
    arguments = {name: value for name, value in settings.arguments.items() if name != "model_max_length"}
    stated = {
        "class": settings.class_name if settings.stated_in.endswith("/config.json") else "",
        "arguments": arguments,
        "lowercase": settings.lowercase,
    }
    return {name: value for name, value in stated.items() if value}


def read_json(path: str) -> dict[str, Any] | None:
    """Read a JSON object, None if there is no file; a file that does not parse is a TokenizerError."""
    if not os.path.exists(path):
        return None
    refuse_lfs_pointer(path)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except ValueError as error:
        raise TokenizerError(
            f"{path}: expected JSON, the tokenizer cannot be read ({error}); save the tokenizer again"
        ) from None
    return content if isinstance(content, dict) else {}


def refuse_lfs_pointer(path: str) -> None:
    """Refuse a file that Git LFS has not fetched."""
    with open(path, "rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise TokenizerError(
                f"{path}: expected a file of the tokenizer, got a Git LFS pointer; run `git lfs pull` in the "
                "repository, or download the file again"
            )


def _transformer_file(folder: str) -> dict[str, Any]:
    """Read sentence-transformers' file of the Transformer; {} if there is none."""
    paths = (os.path.join(folder, name) for name in SENTENCE_FILES)
    path = next((path for path in paths if os.path.exists(path)), None)
    content = {} if path is None else read_json(path) or {}
    elsewhere = content.get("tokenizer_name_or_path")
    if elsewhere is not None:
        raise TokenizerError(
            f"{path}: tokenizer_name_or_path: expected no such key, got {elsewhere!r}; save that tokenizer "
            "into the folder and remove the key"
        )
    return content
