"""The public stages, under the name that programs import; `corpusmill.pipeline.ray_data` defines them."""

from corpusmill.pipeline.ray_data import Encode, Tokenize

__all__ = ["Encode", "Tokenize"]
