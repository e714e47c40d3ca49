"""Spans that the demo's tagger should find in a text, as rules define them.

VERSION    a number after a word that announces a version ("Python 3.11", "HTTP/1.1", "version 2"), a further
           number of such a list ("Python 2.6 and 2.7"), or a number of three parts or of a pre-release
           (1.5a1). Not the number of a section, an address (four parts), or a number in an example: 3.14.
URL        scheme://... up to white space, quote or bracket, without closing punctuation.
REFERENCE  a PEP or RFC with its number: "PEP 484", "RFC-822", "message/rfc822".
EXCEPTION  the name of an exception of the running Python, with or without its module.
NAME       any other dotted name: "os.path.join", "self.rfile". Not file names, hosts, addresses, parts of
           a path, initials ("G.Rossum"), nor letters alone ("e.g.", "a.b.c").

Offsets are code points: `text[start:end]` is the span.
"""

import ast
import builtins
import functools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from corpusmill.jobs.demo.native import native_modules
from corpusmill.jobs.demo.source import parsed_modules

LABELS = ("VERSION", "URL", "REFERENCE", "EXCEPTION", "NAME")

_URL = re.compile(r"""\b[A-Za-z][A-Za-z0-9+.-]*://[^\s<>"'`]+""")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_REFERENCE = re.compile(r"(?<![\w.])(?:RFC|PEP|rfc|pep)s?(?:\s+|-|\s*#)?\d{1,5}(?!\.?\w)")
_NUMBER = re.compile(r"(?<![\w.])\d{1,4}(?:\.\d{1,4})*(?:(?:a|b|rc)\d{1,3})?(?!\.?\w)")
_VERSION_FORM = re.compile(r"\d+\.\d+\.\d+|\d+(?:\.\d+)+[abr].*")
_OPERATOR = r"(?:\s*(?:[<>=!]=|[<>=])\s*|\s+|/|-|::\s*)[\"']?\Z"
_BEFORE_VERSION = re.compile(rf"(?:\bPython|\b[Vv]ersions?|__version__){_OPERATOR}")
_BEFORE_DOTTED_VERSION = re.compile(
    r"\b(?:versionadded|versionchanged|release|AIX|API|BSD|C14N|HTTP|Linux|MSVC|macOS|OpenSSL|Optik|OS X"
    rf"|PalmOS|SAX|SQLite|SSL|TLS|[Tt]k|Unicode|Windows|XML){_OPERATOR}"
)
_BEFORE_SECTION = re.compile(r"(?:\b[Ss]ections?|\b[Cc]hapter|\b(?:RFC|PEP)\s?\d+,?)\s+\Z")
_LIST_SEPARATOR = re.compile(r"\s*(?:,|/|-|\b(?:and|or|to|through)\b)?\s*(?:\b(?:and|or)\b\s+)?")
_CONTEXT = 40  # characters before a number that are searched for such a word

_WORD = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_FILE = re.compile(
    r"(?!(?:c?math|logger|logging)\.log$).+\.(?:a|bak|bat|bmp|bz2|c|cfg|conf|css|csv|dat|db|def|dll|dylib|egg|exe"
    r"|framework|gif|gram|gz|h|html?|ico|in|ini|jpg|json|lib|log|md|o|png|ppm|ppt|pth|py|py[ciow]|pyd|rst|sh|so"
    r"|tar|tgz|toml|txt|types|whl|xbm|xls|xml|xpm|xz|yaml|zip)",
    re.IGNORECASE,
)
_HOST = re.compile(r".+\.(?:arpa|at|au|com|de|dk|edu|fr|gov|net|nl|org|sf|uk)")
_INITIALS = re.compile(r"(?:\w\.)+\w|(?:[A-Z]\.)+[A-Z][a-z]+")


class Span(NamedTuple):
    """A labelled part of a text: `text[start:end]`."""

    start: int
    end: int
    label: str


def true_spans(text: str) -> list[Span]:
    """Return the spans of a text, disjoint and in order."""
    taken: list[Span] = []
    for find in _FINDERS:
        taken += [span for span in find(text) if not any(_overlap(span, other) for other in taken)]
    return sorted(taken)


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _urls(text: str) -> Iterator[Span]:
    for match in _URL.finditer(text):
        url = match[0]
        while url[-1] in ".,;:!?*_" or _closes_outer_bracket(url):
            url = url[:-1]
        if not url.endswith("://"):
            yield Span(match.start(), match.start() + len(url), "URL")


def _closes_outer_bracket(url: str) -> bool:
    """Return whether the last character closes a bracket that was opened before the URL."""
    opening = _BRACKETS.get(url[-1])
    return opening is not None and url.count(url[-1]) > url.count(opening)


def _references(text: str) -> Iterator[Span]:
    for match in _REFERENCE.finditer(text):
        yield Span(*match.span(), "REFERENCE")


def _versions(text: str) -> Iterator[Span]:
    last = None
    for match in _NUMBER.finditer(text):
        number, start = match[0], match.start()
        listed = last is not None and _LIST_SEPARATOR.fullmatch(text, last, start) and _may_be_listed(number)
        if listed or _is_version(number, before=text[max(0, start - _CONTEXT) : start]):
            yield Span(*match.span(), "VERSION")
            last = match.end()


def _may_be_listed(number: str) -> bool:
    """Return whether a number can continue a list: "Python 2, 3 and 400 others" has two versions."""
    return "." in number or len(number) < 3


def _is_version(number: str, *, before: str) -> bool:
    if _BEFORE_SECTION.search(before):
        return False
    if _VERSION_FORM.fullmatch(number) or _BEFORE_VERSION.search(before):
        return True
    return "." in number and bool(_BEFORE_DOTTED_VERSION.search(before))


def _names(text: str) -> Iterator[Span]:
    for match in _WORD.finditer(text):
        name, (start, end) = match[0], match.span()
        if is_exception(name):
            yield Span(start, end, "EXCEPTION")
        elif "." in name and _is_name(text, start, end):
            yield Span(start, end, "NAME")


def _is_name(text: str, start: int, end: int) -> bool:
    name, before, after = text[start:end], text[max(0, start - 2) : start], text[end : end + 1]
    if _FILE.fullmatch(name) or _HOST.fullmatch(name) or _INITIALS.fullmatch(name):
        return False
    in_mail = after == "@" or (before.endswith("@") and before[0].isalnum())
    in_path = before.endswith(("/", "\\")) or after in ("/", "\\")
    return not in_mail and not in_path


def _definitions(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Yield each top-level name, with the last parts of its base classes or of the name that it aliases."""
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, {_last_name(base) for base in node.bases}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            # `error = _compiler.error` aliases a module's name; `error = _log.error` is a method.
            if not isinstance(value, ast.Attribute) or getattr(value.value, "id", "") in imported:
                yield node.targets[0].id, {_last_name(value)}


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _is_exception_class(member: object) -> bool:
    return isinstance(member, type) and issubclass(member, BaseException)


@functools.cache
def all_exceptions() -> frozenset[str]:
    """Return the names of all exceptions, with and without their module; aliases (`os.error`) count."""
    found: set[str] = set()
    for owner, prefix in [(builtins, "builtins"), *native_modules()]:
        names = [name for name, member in vars(owner).items() if _is_exception_class(member)]
        found.update(names, (f"{prefix}.{name}" for name in names))
    definitions = [(module, *pair) for module, tree in parsed_modules() for pair in _definitions(tree)]
    before = -1
    # A base may be defined in a later module, so repeat until no name is added.
    while before != len(found):
        before = len(found)
        for module, name, origins in definitions:
            if origins & found:
                found.update((name, f"{module}.{name}"))
    return frozenset(found)


def is_exception(name: str) -> bool:
    """Return whether a word of a text is the name of an exception.

    A name without a module needs a capital letter after the first (`ValueError`, `BdbQuit`), because
    `Exception`, `Full` and `error` are ordinary words. With a module any name counts (`queue.Full`).
    """
    module, _, last = name.rpartition(".")
    compound = last[1:] != last[1:].lower()
    return name in all_exceptions() if module and not compound else compound and last in all_exceptions()


# The order matters: a name in a URL is part of the URL, "rfc822" in "email.rfc822" is part of the name.
_FINDERS: tuple[Callable[[str], Iterator[Span]], ...] = (_urls, _references, _versions, _names)
