"""One vector per sequence, by the checkpoint's sentence-transformers files or the caller's options."""

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.parts import VectorModules, vector_modules
from corpusmill.models.outputs import EmbeddingOutput, EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class EmbeddingHead(VectorModules):
    """The vectors of a checkpoint's modules."""

    def forward(self, encoded: EncoderOutput, packed: PackedTokens, _targets: HeadTargets) -> EmbeddingOutput:
        return EmbeddingOutput(
            embeddings=self.vectors(encoded, packed),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _build(parts: HeadParts) -> EmbeddingHead:
    return EmbeddingHead(*vector_modules(parts))


SPEC = Head(task="embedding", classes=(), build=_build, job_task="embedding")
