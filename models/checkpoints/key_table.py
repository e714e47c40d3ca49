"""Every key of a checkpoint's JSON files that is known, and what it does here. docs/checkpoints.md shows it.

The keys are those that transformers 5.23 and sentence-transformers 6.2 write or read, and those that older
versions and other tools left in published checkpoints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Treatment = Literal["honoured", "without effect", "refused"]


@dataclass(frozen=True)
class Keys:
    """Keys of one file that are treated alike.

    `remark` is what an honoured key decides, the reason why a key has no effect, or the advice where a value
    is refused. A name may have wildcards. `values` are the only ones that are accepted, beside null; None
    accepts all. `of` are the architectures, or the classes of modules, that have the keys; () means all.
    `noted`: a run notes the keys, with the remark.
    """

    names: tuple[str, ...]
    treatment: Treatment
    remark: str
    values: tuple[object, ...] | None = None
    of: tuple[str, ...] = ()
    noted: bool = False


def _honoured(names: str, decides: str, *, values: tuple[object, ...] | None = None, of: str = "") -> Keys:
    return Keys(tuple(names.split()), "honoured", decides, values, tuple(of.split()))


def _idle(names: str, reason: str, *, of: str = "") -> Keys:
    return Keys(tuple(names.split()), "without effect", reason, None, tuple(of.split()))


def _refused(names: str, advice: str, *, unless: tuple[object, ...] = (), of: str = "") -> Keys:
    return Keys(tuple(names.split()), "refused", advice, unless, tuple(of.split()))


ANOTHER = "use the model's own library"
BERT_SIZES = "bert convbert mobilebert squeezebert"

CONFIG = (
    # The architecture.
    _honoured("model_type", "the architecture"),
    _honoured("architectures", "the head, and the task that follows from it"),
    _honoured("vocab_size max_position_embeddings", "sizes"),
    _honoured("hidden_size num_hidden_layers num_attention_heads intermediate_size", "sizes", of=BERT_SIZES),
    _honoured("dim n_layers n_heads hidden_dim", "sizes", of="distilbert"),
    _honoured(
        "hidden_size num_hidden_layers num_attention_heads",
        "sizes: other names of `dim`, `n_layers` and `n_heads`, which they override",
        of="distilbert",
    ),
    _honoured("type_vocab_size", "number of token types", of=BERT_SIZES),
    _honoured("hidden_act", "activation", of=BERT_SIZES),
    _honoured("activation", "activation", of="distilbert"),
    _honoured("layer_norm_eps", "eps of norms, where the architecture reads it", of=BERT_SIZES),
    _honoured("embedding_size", "width of the word vectors", of="convbert mobilebert squeezebert"),
    _honoured("head_ratio num_groups conv_kernel_size", "the mixed attention", of="convbert"),
    _honoured(
        "summary_type",
        "how multiple choice summarises a sequence",
        values=("last", "first", "mean", "cls_index"),
        of="convbert",
    ),
    _honoured("summary_use_proj summary_activation", "the map after that summary", of="convbert"),
    _idle(
        "summary_type summary_use_proj summary_activation summary_proj_to_labels",
        "the class does not read it",
        of="bert distilbert mobilebert squeezebert",
    ),
    _refused(
        "summary_proj_to_labels",
        "multiple choice has one score for each choice",
        unless=(False,),
        of="convbert",
    ),
    _honoured(
        "intra_bottleneck_size use_bottleneck use_bottleneck_attention key_query_shared_bottleneck "
        "num_feedforward_networks trigram_input classifier_activation",
        "the layers, the word vectors and the pooler",
        of="mobilebert",
    ),
    _honoured("normalization_type", "kind of norm", values=("no_norm", "layer_norm"), of="mobilebert"),
    _honoured(
        "true_hidden_size",
        "width inside the layers; must be the one that the other sizes give",
        of="mobilebert",
    ),
    _honoured(
        "q_groups k_groups v_groups post_attention_groups intermediate_groups output_groups",
        "groups of the linear maps",
        of="squeezebert",
    ),
    _honoured("tie_word_embeddings", "whether words are predicted with the word vectors"),
    _refused("is_decoder add_cross_attention", ANOTHER, unless=(False,), of="bert convbert"),
    _idle(
        "is_decoder add_cross_attention", "the class does not read it", of="distilbert mobilebert squeezebert"
    ),
    _refused(
        "position_embedding_type",
        "relative positions are read by transformers 4 only",
        unless=("absolute",),
        of="bert",
    ),
    _idle(
        "position_embedding_type",
        "positions are absolute in this class, whatever the value",
        of="convbert distilbert mobilebert squeezebert",
    ),
    _refused("pruned_heads", "save the model with its heads removed in transformers 4", unless=({},)),
    _refused("quantization_config", "use the checkpoint before its quantization, with dtype: int8 if wanted"),
    _refused("per_layer_config", "all layers have one configuration here"),
    _refused("text_config", ANOTHER),
    _refused("configuration_files", "rename the file for your version to config.json"),
    _refused("transformers_weights", "rename the weights to model.safetensors and remove the key"),
    # Heads and labels.
    _honoured("id2label", "names of the labels"),
    _honoured("num_labels", "number of labels, where `id2label` is absent"),
    _honoured(
        "problem_type",
        "softmax, sigmoid or a value",
        values=("single_label_classification", "multi_label_classification", "regression"),
    ),
    _honoured(
        "sbert_ce_default_activation_function sentence_transformers",
        "function that makes scores of logits",
    ),
    _idle("function_to_apply", "transformers reads it only where there is no label"),
    _honoured("tokenizer_class", "class of the tokenizer, where tokenizer_config.json has none"),
    Keys(
        ("auto_map",),
        "without effect",
        "code of the checkpoint is never run; transformers' own class is used, as without trust_remote_code",
        noted=True,
    ),
    _honoured("label2id", "which label is the entailment, in zero-shot classification"),
    _idle("_num_labels", "transformers counts `id2label` instead"),
    # Training.
    _idle(
        "hidden_dropout_prob attention_probs_dropout_prob classifier_dropout hidden_dropout "
        "attention_dropout dropout qa_dropout seq_classif_dropout summary_first_dropout "
        "summary_last_dropout dropout_rate layerdrop",
        "dropout acts in training only",
    ),
    _idle("initializer_range init_std initializer_factor", "no weight is initialised at random"),
    _idle("gradient_checkpointing", "there are no gradients"),
    _idle("finetuning_task task_specific_params language", "a note about the training"),
    _idle("directionality", "a note of the first BERT checkpoints"),
    _idle(
        "pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type",
        "notes of the first BERT checkpoints about a pooler that no version has",
    ),
    _idle("cell emb_size pre_trained structure training", "notes of TinyBERT's training"),
    _idle("neftune_noise_alpha unsloth_version unsloth_fixed", "a note about the training"),
    _idle("loss_type problem_weights label_smoothing", "only a loss reads it"),
    # How a program runs the model.
    _idle("dtype torch_dtype use_bfloat16", "the job's `dtype` decides; stored numbers are read as they are"),
    _idle(
        "output_hidden_states output_attentions _output_attentions return_dict torchscript",
        "it changes what the reference returns beside the results",
    ),
    _idle("chunk_size_feed_forward", "it changes memory use only"),
    _idle(
        "attn_implementation _attn_implementation _attn_implementation_autoset _attn_implementation_internal "
        "_flash_attn_2_enabled use_flash_attention_2 experts_implementation _experts_implementation "
        "_experts_implementation_internal fusion_config distributed_config reference_compile xla_device "
        "transformers.js_config tf_legacy_loss gguf_file",
        "the fastest kernel of this version is used; the numbers differ by rounding",
    ),
    _idle(
        "is_causal use_bidirectional_attention sliding_window attention_chunk_size",
        "each token reads all tokens in the classes of these architectures, whatever the value",
    ),
    _idle(
        "layer_types mtp_layer_types head_dim num_heads embed_dim embedding_dim projection_dim num_features",
        "the classes of these architectures do not read it",
    ),
    _idle("hidden_dim", "the class does not read it", of=BERT_SIZES),
    _idle(
        "pad_token_id bos_token_id eos_token_id sep_token_id cls_token_id mask_token_id unk_token_id "
        "eos_token_ids decoder_start_token_id",
        "special tokens are those of the tokenizer, and nothing is padded",
    ),
    _idle("sinusoidal_pos_embds", "sinusoidal positions are stored like learned ones", of="distilbert"),
    _idle("layer_norm_eps hidden_act intermediate_size", "the class does not read it", of="distilbert"),
    _idle("type_vocab_size", "the class has no token types", of="distilbert"),
    _idle("embedding_size", "the class does not read it", of="bert distilbert"),
    _idle(
        "use_cache output_past is_encoder_decoder tie_encoder_decoder cross_attention_hidden_size",
        "only text generation reads it",
    ),
    _idle(
        "max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty "
        "temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size "
        "encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores "
        "return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values "
        "exponential_decay_length_penalty suppress_tokens begin_suppress_tokens epsilon_cutoff eta_cutoff "
        "encoder_repetition_penalty assistant_confidence_threshold assistant_lookbehind "
        "num_assistant_tokens num_assistant_tokens_schedule target_lookbehind",
        "only text generation reads it",
    ),
    _idle("prefix", "only pipelines of text generation read it"),
    _idle("custom_pipelines", "code of the checkpoint is never run"),
    _idle(
        "rope_scaling rope_theta rope_parameters partial_rotary_factor",
        "these architectures have no rotary positions",
    ),
    # Notes of programs.
    _idle("transformers_version _name_or_path name_or_path _commit_hash model_name name", "a note"),
    _idle("base_model_prefix base_model_tp_plan", "a note; the class has its own"),
    _idle("tie_weights_ tie_weights", "`tie_word_embeddings` decides"),
    _idle("n_positions n_ctx", "`max_position_embeddings` decides"),
    _idle("adapters adapter_fusion_models", "adapters of a training; their weights would be surplus tensors"),
)

TOKENIZER = (
    _honoured("tokenizer_class", "class of the tokenizer"),
    _honoured("auto_map", "code of the checkpoint is never run: the tokenizer is refused or this is noted"),
    _honoured("do_lower_case strip_accents tokenize_chinese_chars", "normalization of BERT's classes"),
    _honoured("clean_text never_split wordpieces_prefix", "as in transformers 4; version 5 ignores it"),
    _honoured("do_basic_tokenize", "noted where it is false, which fast tokenizers ignore"),
    _honoured("model_max_length", "longest sequence of `max_length: auto`"),
    _honoured("max_len", "the same, where `model_max_length` is absent"),
    _honoured("truncation_side", "the end at which long texts are cut"),
    _honoured("model_input_names", "whether pairs get token types"),
    _honoured("split_special_tokens", "whether special tokens in a text are cut like words"),
    _honoured(
        "added_tokens_decoder", "tokens that are cut out of a text first; complete where it is present"
    ),
    _honoured(
        "additional_special_tokens extra_special_tokens model_specific_special_tokens *_token",
        "special tokens, which are cut out of a text first",
    ),
    _honoured("fast_tokenizer_files", "refused where it names another file than tokenizer.json"),
    _refused("init_inputs", "save the tokenizer again with transformers 5", unless=([],)),
    _refused(
        "vocab merges tokenizer_object post_processor tokenizer_truncation tokenizer_padding "
        "_json_truncation _json_padding",
        "save the tokenizer again: tokenizer.json has these parts",
    ),
    _idle(
        "backend is_local local_files_only files_loaded verbose device_map use_fast",
        "it tells how the tokenizer was loaded",
    ),
    _idle(
        "vocab_file merges_file tokenizer_file special_tokens_map_file full_tokenizer_file "
        "added_tokens_file name_or_path",
        "a path of the machine that saved the tokenizer; the folder's own files count",
    ),
    _idle(
        "padding_side pad_token_type_id pad_to_multiple_of padding max_length stride truncation "
        "truncation_strategy return_tensors",
        "an argument of a call; nothing is padded, and the job has `max_length` and `stride`",
    ),
    _idle(
        "clean_up_tokenization_spaces spaces_between_special_tokens "
        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
        "only turning tokens into text reads it",
    ),
    _idle("chat_template response_template response_schema chat_control_tokens", "only chats use it"),
    _idle("processor_class slow_tokenizer_class transformers_version _commit_hash", "a note"),
    _idle("add_bos_token add_eos_token", "the special tokens are those of tokenizer.json, or BERT's"),
    _honoured(
        "add_prefix_space keep_accents split_by_punct",
        "for the classes of other families; refused where tokenizer.json contradicts it",
    ),
    _idle(
        "trim_offsets errors unk_id sp_model_kwargs legacy from_slow fix_mistral_regex "
        "_spm_precompiled_charsmap continuing_subword_prefix end_of_word_suffix",
        "it belongs to tokenizers of other kinds, whose tokenizer.json states it",
    ),
    _idle(
        "special_tokens_pattern token_type_ids_pattern token_type_ids_include_special_tokens",
        "only slow tokenizers read it",
    ),
    _idle("vocab_size", "the vocabulary is counted"),
    _idle("_from_auto _from_pipeline", "an argument of a call"),
    _refused(
        "trust_remote_code",
        "remove it; transformers 5 takes it for a reason to use tokenizer.json whatever the class",
        unless=(False,),
    ),
    _refused("gguf_file", "save the tokenizer beside the model"),
)

BY_CLASS = "for classes that are loaded from the file; BERT's classes have their own, as in transformers 5"

TOKENIZER_JSON = (
    _honoured("model", "the vocabulary; for classes that are loaded from the file the whole algorithm"),
    _honoured("added_tokens", "tokens that are cut out of a text first"),
    _honoured("normalizer pre_tokenizer post_processor", BY_CLASS),
    _honoured("truncation", "its direction, where `truncation_side` is absent"),
    _idle("padding", "nothing is padded"),
    _idle("decoder", "only turning tokens into text reads it"),
    _idle("version", "a note"),
)

TOKENIZER_MODEL = (
    _honoured("type vocab merges unk_token unk_id", "the vocabulary"),
    _honoured(
        "continuing_subword_prefix end_of_word_suffix max_input_chars_per_word fuse_unk byte_fallback "
        "ignore_merges",
        BY_CLASS,
    ),
    _refused("dropout", "it cuts texts at random; set it to null", unless=(0, 0.0)),
)

TOKENIZER_KINDS = (
    _honoured("BPE Unigram WordLevel WordPiece", "algorithm; noted where it is not BERT's", of="model"),
    _honoured(
        "BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Sequence Strip "
        "StripAccents",
        BY_CLASS,
        of="normalizer",
    ),
    _honoured(
        "BertPreTokenizer ByteLevel CharDelimiterSplit Digits FixedLength Metaspace Punctuation Sequence "
        "Split UnicodeScripts Whitespace WhitespaceSplit",
        BY_CLASS,
        of="pre_tokenizer",
    ),
    _honoured(
        "BertProcessing ByteLevel RobertaProcessing Sequence TemplateProcessing",
        BY_CLASS,
        of="post_processor",
    ),
    _idle(
        "BPEDecoder ByteFallback ByteLevel CTC Fuse Metaspace Replace Sequence Strip WordPiece",
        "only turning tokens into text reads it",
        of="decoder",
    ),
)

SPECIAL_TOKENS_MAP = (
    _honoured(
        "additional_special_tokens extra_special_tokens *_token",
        "special tokens, where tokenizer_config.json has no `added_tokens_decoder`",
    ),
)

ADDED_TOKENS = (
    _honoured("*", "every key is a token, where tokenizer_config.json has no `added_tokens_decoder`"),
)

TEXT = "text"
FORWARD = "forward"
TRANSFORMER = (
    _honoured("max_seq_length", "longest sequence of `max_length: auto`"),
    _honoured("do_lower_case", "whether texts are lower-cased before the tokenizer"),
    _honoured("tokenizer_args processor_kwargs", "settings that override tokenizer_config.json"),
    _honoured("tokenizer_name_or_path", "refused where it names another tokenizer"),
    _honoured("transformer_task", "the head"),
    _honoured(
        "modality_config",
        "texts go through the whole model, without chat templates",
        values=tuple(
            {TEXT: {"method": FORWARD, "method_output_name": name}}
            for name in ("last_hidden_state", "logits")
        ),
    ),
    _honoured("module_output_name", "name of the result", values=("token_embeddings", "scores")),
    _honoured("config_args config_kwargs model_args model_kwargs", "arguments of loading, below"),
    _refused("processing_kwargs", "set max_length in the job and remove the key", unless=({},)),
    _refused(
        "query_expansion query_length document_length",
        "it is for late interaction; set max_length in the job",
    ),
    _idle("unpad_inputs backend", "nothing is padded, and the weights are safetensors"),
)

OF_LOADING = _idle(
    "cache_dir code_revision force_download local_files_only proxies revision subfolder token "
    "trust_remote_code",
    "sentence-transformers replaces or drops it, or it tells from where to load",
)

TOKENIZER_ARGUMENTS = (
    _refused("tokenizer_type", "state the class as tokenizer_class in tokenizer_config.json"),
    _refused("mistral_format", "remove it", unless=(False,)),
    _idle("tokenizer_class", "the class is that of tokenizer_config.json"),
    OF_LOADING,
)
_OF_ARGUMENTS = {name for row in TOKENIZER_ARGUMENTS for name in row.names}

MODEL_ARGUMENTS = (
    _idle(
        "attn_implementation device_map low_cpu_mem_usage use_safetensors", "it tells how to load the model"
    ),
    _idle("torch_dtype dtype", "the job's `dtype` decides"),
    _idle("add_pooling_layer", "the pooler is loaded where the task reads it"),
    OF_LOADING,
    _refused("*", "remove it, or write its value into config.json"),
)

CONFIG_ARGUMENTS = (OF_LOADING, _refused("*", "write its value into config.json"))

SENTENCE_TRANSFORMERS = (
    _honoured("prompts default_prompt_name", "text before each text, where the job has no `prompt`"),
    _honoured("truncate_dim", "leading dimensions that are kept"),
    _honoured("max_active_dims", "words of a sparse vector that are kept"),
    _honoured("activation_fn", "function that makes scores of logits, of a cross-encoder"),
    _honoured(
        "model_type",
        "kind of the model",
        values=("SentenceTransformer", "SparseEncoder", "CrossEncoder"),
    ),
    _idle("similarity_fn_name", "no vectors are compared in a job"),
    _idle("keep_in_fp32_modules", "the job's `dtype` decides"),
    _idle("__version__ requirements", "versions of other programs"),
    _idle(
        "query_prefix document_prefix query_length document_length query_expansion do_query_expansion "
        "attend_to_expansion_tokens attend_to_mask_tokens skiplist_words",
        "only late interaction reads it, and its modules are refused",
    ),
)

MODULES = (
    _honoured("type path", "class and folder of a module"),
    _idle("idx name kwargs", "names of the modules and of arguments that jobs do not give"),
)

MODULE = (
    _honoured("pooling_mode pooling_mode_*", "the poolings, side by side", of="Pooling"),
    _honoured("include_prompt", "refused with a prompt where it is false", of="Pooling"),
    _idle(
        "embedding_dimension word_embedding_dimension",
        "the encoder's width counts",
        of="Pooling SpladePooling",
    ),
    _honoured("pooling_strategy activation_function", "weights of words", of="SpladePooling"),
    _idle("chunk_size", "it changes memory use only", of="SpladePooling"),
    _honoured("in_features out_features bias activation_function use_residual", "the projection", of="Dense"),
    _idle("init_weight init_bias", "the stored weights count", of="Dense"),
    _honoured(
        "module_input_name module_output_name",
        "the vectors that are read and written; others than those of the place in the chain are refused",
        of="Dense Normalize",
    ),
    _honoured("dimension", "the width, which must be that of the vectors", of="LayerNorm"),
    _idle("dropout", "dropout acts in training only", of="Dropout"),
    _honoured("types structure parameters", "the routes and their modules", of="Router Asym"),
)

ROUTER = (_honoured("route_mappings default_route allow_empty_key", "the route of a text"),)

ADAPTER = (
    _refused("*", "merge the adapter with PEFT's merge_and_unload(), or remove its files if it is merged"),
)


@dataclass(frozen=True)
class File:
    """The keys of one file. `inside` is the object in it that has them; "" is the whole file.

    `listed` are the rows that the page shows, where it shows the others elsewhere.
    """

    name: str
    keys: tuple[Keys, ...]
    inside: str = ""
    listed: tuple[Keys, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.name}: {self.inside}" if self.inside else self.name


def _without(row: Keys, names: set[str]) -> Keys:
    return replace(row, names=tuple(name for name in row.names if name not in names))


FILES: Mapping[str, File] = {
    "config": File("config.json", CONFIG),
    "tokenizer": File("tokenizer_config.json", TOKENIZER),
    "tokenizer_json": File("tokenizer.json", TOKENIZER_JSON),
    "tokenizer_model": File("tokenizer.json", TOKENIZER_MODEL, "model"),
    "tokenizer_kinds": File("tokenizer.json", TOKENIZER_KINDS, "type"),
    "special_tokens": File("special_tokens_map.json", SPECIAL_TOKENS_MAP),
    "added_tokens": File("added_tokens.json", ADDED_TOKENS),
    "transformer": File("sentence_bert_config.json", TRANSFORMER),
    "tokenizer_arguments": File(
        "sentence_bert_config.json",
        (*TOKENIZER_ARGUMENTS, *(_without(row, _OF_ARGUMENTS) for row in TOKENIZER)),
        "processor_kwargs, beside keys of tokenizer_config.json",
        listed=TOKENIZER_ARGUMENTS,
    ),
    "model_arguments": File("sentence_bert_config.json", MODEL_ARGUMENTS, "model_kwargs"),
    "config_arguments": File(
        "sentence_bert_config.json",
        (*(row for row in CONFIG if row.treatment == "without effect" and not row.of), *CONFIG_ARGUMENTS),
        "config_kwargs, beside keys without effect of config.json",
        listed=CONFIG_ARGUMENTS,
    ),
    "sentence_transformers": File("config_sentence_transformers.json", SENTENCE_TRANSFORMERS),
    "modules": File("modules.json", MODULES),
    "module": File("config.json of a module", MODULE),
    "router": File("router_config.json", ROUTER, "parameters"),
    "adapter": File("adapter_config.json", ADAPTER),
}
