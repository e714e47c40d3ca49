"""What a tokenizer puts around texts, found out by trying."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from corpusmill.pipeline.encode.sequences import Frame, Template, read_template
from corpusmill.pipeline.errors import TokenizerError

IDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "the": 3}
SPECIALS = [("[CLS]", 1), ("[SEP]", 2)]


def tokenizer(single: str, pair: str) -> Tokenizer:
    made = Tokenizer(models.WordPiece(IDS, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=SPECIALS)
    return made


BERT = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        (
            BERT,
            Template(
                Frame((((1, 0),), ((2, 0),)), (0,)),
                Frame((((1, 0),), ((2, 0),), ((2, 1),)), (0, 1)),
            ),
        ),
        (
            ("$A [SEP] [SEP]", "[CLS] $A:0 [SEP]:0 [CLS]:1 $B:0 [SEP]:0"),
            Template(
                Frame(((), ((2, 0), (2, 0))), (0,)),
                Frame((((1, 0),), ((2, 0), (1, 1)), ((2, 0),)), (0, 0)),
            ),
        ),
        (("$A", "$A $B:1"), Template(Frame(((), ()), (0,)), Frame(((), (), ()), (0, 1)))),
    ],
    ids=["BERT", "several between", "none"],
)
def test_special_tokens_and_types_are_read_off(templates: tuple[str, str], expected: Template) -> None:
    """Before, between and after the texts, each with its type."""
    found = read_template(tokenizer(*templates))
    assert found == expected
    assert (found.single.size, found.pair.size) == (
        sum(map(len, expected.single.specials)),
        sum(map(len, expected.pair.specials)),
    )


def test_a_tokenizer_without_a_template_adds_nothing() -> None:
    """And all types are 0 but those that the library itself gives a second text."""
    bare = Tokenizer(models.WordPiece(IDS, unk_token="[UNK]"))
    bare.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found = read_template(bare)
    assert (found.single, found.pair.size) == (Frame(((), ()), (0,)), 0)
    assert found.pair.types == tuple(bare.encode("the", "the").type_ids)


def test_a_template_in_another_order_is_an_error() -> None:
    """The texts' types and places would be mixed up."""
    with pytest.raises(TokenizerError, match=r"expected .* around 2 text\(s\) in order, got \[CLS\] "):
        read_template(tokenizer(BERT[0], "[CLS] $B [SEP] $A:1 [SEP]:1"))
