"""What all parts of the job file keep to."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Auto = Literal["auto"]


class Section(BaseModel):
    """A part of the job file: unknown keys are errors, values are not coerced between types.

    The text below a field is its description: docs/job-file.md and `corpusmill init` print it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
