"""Docstrings of the standard library's modules that are written in C.

They have no source to read, so they are imported: only those of a fixed table, whose import only defines
names. A module is left out if this Python was built without it, or if the machine lacks its shared library.
"""

import importlib
import inspect
import types
from collections.abc import Iterator

from corpusmill.jobs.demo.document import Document

# C module -> the public module that documents it, if that has another name.
_PUBLIC_NAME = {
    "_bisect": "bisect",
    "_blake2": "hashlib",
    "_bz2": "bz2",
    "_codecs": "codecs",
    "_collections": "collections",
    "_contextvars": "contextvars",
    "_csv": "csv",
    "_ctypes": "ctypes",
    "_curses": "curses",
    "_curses_panel": "curses.panel",
    "_datetime": "datetime",
    "_dbm": "dbm.ndbm",
    "_decimal": "decimal",
    "_elementtree": "xml.etree.ElementTree",
    "_functools": "functools",
    "_gdbm": "dbm.gnu",
    "_hashlib": "hashlib",
    "_heapq": "heapq",
    "_imp": "importlib",
    "_io": "io",
    "_json": "json",
    "_locale": "locale",
    "_lsprof": "cProfile",
    "_lzma": "lzma",
    "_multiprocessing": "multiprocessing",
    "_operator": "operator",
    "_opcode": "dis",
    "_pickle": "pickle",
    "_posixshmem": "multiprocessing",
    "_posixsubprocess": "subprocess",
    "_queue": "queue",
    "_random": "random",
    "_signal": "signal",
    "_socket": "socket",
    "_sqlite3": "sqlite3",
    "_sre": "re",
    "_ssl": "ssl",
    "_stat": "stat",
    "_statistics": "statistics",
    "_string": "string",
    "_struct": "struct",
    "_symtable": "symtable",
    "_thread": "threading",
    "_tracemalloc": "tracemalloc",
    "_uuid": "uuid",
    "_warnings": "warnings",
    "_weakref": "weakref",
    "_zoneinfo": "zoneinfo",
    "posix": "os",
    "pyexpat": "xml.parsers.expat",
}
_SAME_NAME = (
    "array atexit binascii builtins cmath errno faulthandler fcntl gc grp itertools marshal math mmap "
    "pwd resource select sys syslog termios time unicodedata zlib"
)
_NATIVE_MODULES = sorted([*_PUBLIC_NAME, *_SAME_NAME.split()])


def native_documents() -> Iterator[Document]:
    """Yield the docstrings of public names, by C module, then by name; `module` is the public module."""
    for module, public in native_modules():
        for name, text in _docstrings(module, owners={module.__name__, public}):
            yield Document(module=public, name=name, text=text)


def native_modules() -> Iterator[tuple[types.ModuleType, str]]:
    """Yield the modules of the table that this Python has, each with the name of its public module."""
    for native in _NATIVE_MODULES:
        try:
            yield importlib.import_module(native), _PUBLIC_NAME.get(native, native)
        except ImportError:
            continue


def _docstrings(module: types.ModuleType, *, owners: set[str]) -> Iterator[tuple[str, str]]:
    yield "", module.__doc__ or ""
    for name, member in sorted(vars(module).items()):
        if name.startswith("_"):
            continue
        if inspect.isroutine(member):
            yield name, member.__doc__ or ""
        elif inspect.isclass(member) and member.__module__ in owners:
            yield from _class_docstrings(member)


def _class_docstrings(owner: type) -> Iterator[tuple[str, str]]:
    yield owner.__qualname__, owner.__doc__ or ""
    for name, member in sorted(vars(owner).items()):
        documented = inspect.isroutine(member) or inspect.isdatadescriptor(member)
        if documented and not name.startswith("_"):
            yield f"{owner.__qualname__}.{name}", member.__doc__ or ""
