"""Arrow types as text, as Arrow prints them: `int64`, `timestamp[us]`, `list<string>`."""

import re

import pyarrow as pa


def parse_type(text: str) -> pa.DataType:
    """Return the type that a text names; ValueError if it names none."""
    text = text.strip()
    if text.endswith(">"):
        outer, _, inner = text[:-1].partition("<")
        if outer == "list":
            return pa.list_(parse_type(inner.removeprefix("item:").removeprefix("element:")))
        if outer == "struct":
            return pa.struct([_member(part) for part in _split_top(inner)])
    if zoned := re.fullmatch(r"timestamp\[(s|ms|us|ns), ?tz=(.+)\]", text):
        return pa.timestamp(*zoned.groups())
    try:
        return pa.type_for_alias(text)
    except ValueError:
        raise ValueError(
            f"expected an Arrow type such as string, int64, double, bool, timestamp[us], list<string> or "
            f"struct<a: int64>, got {text!r}"
        ) from None


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text: strings of any kind, or a dictionary of them."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
    )


def is_list_of_text(kind: pa.DataType) -> bool:
    """Return whether a type is a list of text."""
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(listed and is_text(kind.value_type))


def _member(text: str) -> tuple[str, pa.DataType]:
    name, colon, kind = text.partition(":")
    if not colon:
        raise ValueError(f"expected `name: type` inside struct<...>, got {text!r}")
    return name.strip(), parse_type(kind)


def _split_top(text: str) -> list[str]:
    """Split at the commas outside angle brackets."""
    parts, depth, start = [], 0, 0
    for index, mark in enumerate(text):
        depth += (mark == "<") - (mark == ">")
        if mark == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]
