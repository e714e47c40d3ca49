"""What the demo's tagger is to find in a text: spans whose truth a rule decides.

VERSION    a number that is a version by what stands before it ("Python 3.11", "HTTP/1.1", "version 2"), that
           goes on such a list ("Python 2.6 and 2.7"), or by its own form: three parts, or a pre-release
           (1.5a1). Not the number of a section, an address (four parts), nor a number in an example: 3.14.
URL        scheme://... up to white space, quote or bracket; closing punctuation is the sentence's.
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
_OWN_FORM = re.compile(r"\d+\.\d+\.\d+|\d+(?:\.\d+)+[abr].*")
_OPERATOR = r"(?:\s*(?:[<>=!]=|[<>=])\s*|\s+|/|-|::\s*)[\"']?\Z"
_BEFORE_ANY = re.compile(rf"(?:\bPython|\b[Vv]ersions?|__version__){_OPERATOR}")
_BEFORE_DOTTED = re.compile(
    r"\b(?:versionadded|versionchanged|release|AIX|API|BSD|C14N|HTTP|Linux|MSVC|macOS|OpenSSL|Optik|OS X"
    rf"|PalmOS|SAX|SQLite|SSL|TLS|[Tt]k|Unicode|Windows|XML){_OPERATOR}"
)
_BEFORE_SECTION = re.compile(r"(?:\b[Ss]ections?|\b[Cc]hapter|\b(?:RFC|PEP)\s?\d+,?)\s+\Z")
_MORE = re.compile(r"\s*(?:,|/|-|\b(?:and|or|to|through)\b)?\s*(?:\b(?:and|or)\b\s+)?")
_CONTEXT = 40  # characters before a number that may say it is a version

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
    start: int
    end: int
    label: str


def true_spans(text: str) -> list[Span]:
    """Disjoint and in the order of the text."""
    taken: list[Span] = []
    for find in _FINDERS:
        taken += [span for span in find(text) if not any(_overlap(span, other) for other in taken)]
    return sorted(taken)


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _urls(text: str) -> Iterator[Span]:
    for match in _URL.finditer(text):
        url = match[0]
        while url[-1] in ".,;:!?*_" or _closes_more(url):
            url = url[:-1]
        if not url.endswith("://"):
            yield Span(match.start(), match.start() + len(url), "URL")


def _closes_more(url: str) -> bool:
    """True where the last character closes a bracket that was opened before the URL."""
    opening = _BRACKETS.get(url[-1])
    return opening is not None and url.count(url[-1]) > url.count(opening)


def _references(text: str) -> Iterator[Span]:
    for match in _REFERENCE.finditer(text):
        yield Span(*match.span(), "REFERENCE")


def _versions(text: str) -> Iterator[Span]:
    last = None
    for match in _NUMBER.finditer(text):
        number, start = match[0], match.start()
        listed = last is not None and _MORE.fullmatch(text, last, start) and _may_be_listed(number)
        if listed or _is_version(number, before=text[max(0, start - _CONTEXT) : start]):
            yield Span(*match.span(), "VERSION")
            last = match.end()


def _may_be_listed(number: str) -> bool:
    """Without a dot only a short one: "Python 2, 3 and 400 others" has two."""
    return "." in number or len(number) < 3


def _is_version(number: str, *, before: str) -> bool:
    if _BEFORE_SECTION.search(before):
        return False
    if _OWN_FORM.fullmatch(number) or _BEFORE_ANY.search(before):
        return True
    return "." in number and bool(_BEFORE_DOTTED.search(before))


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
    """Each top-level name, with the last parts of its base classes or of what it is an alias of."""
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, {_last(base) for base in node.bases}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            # `error = _compiler.error` is an alias of a module's; `error = _log.error` is a method.
            if not isinstance(value, ast.Attribute) or getattr(value.value, "id", "") in imported:
                yield node.targets[0].id, {_last(value)}


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _raised(member: object) -> bool:
    return isinstance(member, type) and issubclass(member, BaseException)


@functools.cache
def all_exceptions() -> frozenset[str]:
    """Each exception's bare name, and with its module; an alias (`os.error`) counts as a name."""
    found: set[str] = set()
    for owner, prefix in [(builtins, "builtins"), *native_modules()]:
        found.update(*((name, f"{prefix}.{name}") for name, member in vars(owner).items() if _raised(member)))
    definitions = [(module, *pair) for module, tree in parsed_modules() for pair in _definitions(tree)]
    before = -1
    # A base may be defined in a module that comes later: until nothing is added.
    while before != len(found):
        before = len(found)
        for module, name, origins in definitions:
            if origins & found:
                found.update((name, f"{module}.{name}"))
    return frozenset(found)


# Which names are exceptions of the running Python: read from its sources, nothing of them is run.


def is_exception(name: str) -> bool:
    """True for an exception's name as one meets it in text.

    Without its module a name counts only with a capital beyond the first (`ValueError`, `BdbQuit`):
    `Exception`, `Full` or `error` are words of any sentence. With it any counts (`queue.Full`, `os.error`).
    """
    module, _, last = name.rpartition(".")
    compound = last[1:] != last[1:].lower()
    return name in all_exceptions() if module and not compound else compound and last in all_exceptions()


# In this order: what lies in a URL is part of it, "rfc822" in "email.rfc822" is part of the name.
_FINDERS: tuple[Callable[[str], Iterator[Span]], ...] = (_urls, _references, _versions, _names)
