"""The rules for the spans that the demo's tagger should find."""

import importlib
import itertools

import pytest

from corpusmill.jobs.demo.corpus import collect
from corpusmill.jobs.demo.spans import LABELS, all_exceptions, is_exception, true_spans


def found(text: str) -> list[tuple[str, str]]:
    return [(span.label, text[span.start : span.end]) for span in true_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("New in Python 3.11.", ["3.11"]),
        ("Python 2.6, 2.7 and 3.1", ["2.6", "2.7", "3.1"]),
        ("works in Python 3, not 400 of them", ["3"]),
        ("Python\n2 pickles", ["2"]),
        ("UUID versions 1, 3, 4, and 5", ["1", "3", "4", "5"]),
        ("version 2 (the default)", ["2"]),
        ("HTTP/1.1 and SQLite 3.7.15", ["1.1", "3.7.15"]),
        (".. versionchanged:: 3.2", ["3.2"]),
        ("Linux >= 2.6.33 only", ["2.6.33"]),
        ('<plist version="1.0">', ["1.0"]),
        ("0.5a1 comes before 1.0.4rc2", ["0.5a1", "1.0.4rc2"]),
        ("recent (5.3+) kernels", []),
        ("HTTP 404, Windows 95", []),
        ("math.pi is 3.14, mean([1.0, 2.5])", []),
        ("see RFC 2965, section 3.3.6", []),
        ("IPv4Address('192.0.2.0')", []),
        ("Python 3.x", []),
        ("it is 2.5 seconds since 1970", []),
    ],
)
def test_a_version_is_recognized_by_its_context_or_its_form(text: str, expected: list[str]) -> None:
    """After a product or the word, in a list of versions, or of three parts; no other number."""
    assert [span for label, span in found(text) if label == "VERSION"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See https://docs.python.org/3/.", "https://docs.python.org/3/"),
        ("(at <http://xml.org/sax>)", "http://xml.org/sax"),
        ("(http://tip.tcl.tk/48)", "http://tip.tcl.tk/48"),
        ("http://a.org/LRU_(cache)", "http://a.org/LRU_(cache)"),
        ("(see http://a.org/LRU_(cache)).", "http://a.org/LRU_(cache)"),
        ("`PEP <https://peps.python.org/pep-0205/>`_", "https://peps.python.org/pep-0205/"),
        ("proxy 'http://ahad-haam:3128', then", "http://ahad-haam:3128"),
        ("https://docs.python.org/3.11/os.path.html#os.path.join", None),
        ("ftp://ftp.unicode.org/, or", "ftp://ftp.unicode.org/"),
    ],
)
def test_a_url_ends_before_the_sentences_punctuation(text: str, expected: str | None) -> None:
    """Quotes, brackets and full stops around it do not belong to it; it contains no other span."""
    assert found(text) == [("URL", expected or text)]


@pytest.mark.parametrize("text", ["http://", "'scheme://'", "a // b", "os.path:/x"])
def test_a_scheme_alone_is_no_url(text: str) -> None:
    """There must be something after the slashes."""
    assert "URL" not in dict(found(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PEP 484", ["PEP 484"]),
        ("as RFC\n  1766 says", ["RFC\n  1766"]),
        ("RFC2047's, RFC-822, pep-0263.", ["RFC2047", "RFC-822", "pep-0263"]),
        ("message/rfc822", ["rfc822"]),
        ("RFCs 2045, 2046", ["RFCs 2045"]),
        ("RFC 2373 2.5.2", ["RFC 2373"]),
        ("an RFC, a PEP; rfc822.Message, pep8ify, grfc12", []),
    ],
)
def test_a_reference_has_its_number(text: str, expected: list[str]) -> None:
    """In any of the ways it is written."""
    assert [span for label, span in found(text) if label == "REFERENCE"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Raise ValueError.", ["ValueError"]),
        ("socket.error, binascii.Error or queue.Full", ["socket.error", "binascii.Error", "queue.Full"]),
        ("asyncio.CancelledError()", ["asyncio.CancelledError"]),
        ("KeyboardInterrupt and decimal's InvalidOperation", ["KeyboardInterrupt", "InvalidOperation"]),
        ("Exception: an error. Warning. Full, Empty", []),
        ("SomeError, ValueErrors, TracebackException", []),
        ("logger.error, os.strerror, distutils.log.error, imaplib.error", []),
    ],
)
def test_an_exception_is_one_of_this_python(text: str, expected: list[str]) -> None:
    """Similar words and common words do not count."""
    assert [span for label, span in found(text) if label == "EXCEPTION"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Call os.path.join(a), then email.message.", ["os.path.join", "email.message"]),
        ("math.log(self._x) to logger.log", ["math.log", "self._x", "logger.log"]),
        ("@dataclasses.dataclass", ["dataclasses.dataclass"]),
        ("ValueError.args", ["ValueError.args"]),
        ("rfc822.Message", ["rfc822.Message"]),
        ("c.Emin and P.args", ["c.Emin", "P.args"]),
        ("e.g. this, i.e. that, a.k.a. X.Y.Z", []),
        ("R.Hinden and M.A.Lemburg", []),
        ("setup.py, CP437.TXT, pyvenv.cfg, app.log, libc.so", []),
        ("www.python.org, mal@lemburg.com, first.last@here", []),
        ("/usr/ctypes.util, mem/a.b1/c", []),
        ("(2).hex, ...join, x[0].name", []),
        ("1.0.dev, 3.x.y", []),
    ],
)
def test_a_name_is_dotted_and_no_file_host_or_abbreviation(text: str, expected: list[str]) -> None:
    """Words with dots of another meaning are left out."""
    assert [span for label, span in found(text) if label == "NAME"] == expected


def test_offsets_are_code_points() -> None:
    """Also beyond the basic plane and with combining characters."""
    text = "𝛑 e\u0301 os.path"
    assert [text[span.start : span.end] for span in true_spans(text)] == ["os.path"]


@pytest.mark.slow
def test_spans_of_the_corpus_are_disjoint_in_order_and_of_every_label() -> None:
    """Enough of each to learn from."""
    spans = [true_spans(document.text) for document in collect()]
    for one in spans:
        assert all(a.end <= b.start for a, b in itertools.pairwise(one))
        assert all(span.start < span.end for span in one)
    labels = [span.label for one in spans for span in one]
    assert min(labels.count(label) for label in LABELS) >= 50


@pytest.mark.parametrize(
    "module", ["asyncio", "email.errors", "http.client", "re", "socket", "struct", "os", "ssl"]
)
def test_the_table_of_exceptions_agrees_with_the_modules(module: str) -> None:
    """Its names are exceptions of the module, and it has all that the module defines."""
    members = vars(importlib.import_module(module))
    listed = {name.rpartition(".")[2] for name in all_exceptions() if name.rpartition(".")[0] == module}
    assert all(issubclass(members[name], BaseException) for name in listed)
    raised = {name for name, x in members.items() if isinstance(x, type) and issubclass(x, BaseException)}
    assert all(is_exception(f"{module}.{name}") for name in raised if members[name].__module__ == module)
