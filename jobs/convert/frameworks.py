"""The frameworks, one file and one line each, in the order of preference if a folder has several."""

from corpusmill.jobs.convert import flax, pytorch, tensorflow
from corpusmill.jobs.convert.spec import Framework

FRAMEWORKS: tuple[Framework, ...] = (pytorch.SPEC, tensorflow.SPEC, flax.SPEC)
