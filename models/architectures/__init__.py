"""The architectures, one file and one line each. No architecture imports another."""

from corpusmill.models.architectures import bert, convbert, distilbert, mobilebert, squeezebert
from corpusmill.models.checkpoints.spec import Architecture

ARCHITECTURES: dict[str, Architecture] = {
    "bert": bert.SPEC,
    "convbert": convbert.SPEC,
    "distilbert": distilbert.SPEC,
    "mobilebert": mobilebert.SPEC,
    "squeezebert": squeezebert.SPEC,
}
