"""The part of the Python Library Reference that documents a module.

Chapters that are too small to learn from are merged with a similar one. The modules of "Superseded Modules"
are listed under their topic. Multimedia is left out: it has few docstrings and no similar chapter.
"""

# Label: (chapters of the Library Reference, top-level modules). A sub-module goes with its package;
# a private module is listed only if it implements a documented one (`_pydecimal`: decimal).
SECTIONS: dict[str, tuple[str, str]] = {
    "built-ins": (
        "Built-in Functions, Constants, Types, Exceptions",
        "builtins _sitebuiltins",
    ),
    "text-processing": (
        "Text Processing Services; Binary Data Services; Internationalization",
        "codecs difflib encodings gettext locale re readline rlcompleter sre_compile sre_constants sre_parse "
        "string stringprep struct textwrap unicodedata",
    ),
    "data-types": (
        "Data Types",
        "_collections_abc _pydatetime _strptime _weakrefset array bisect calendar collections copy datetime "
        "enum graphlib heapq pprint reprlib types weakref zoneinfo",
    ),
    "numeric-and-functional": (
        "Numeric and Mathematical Modules; Functional Programming Modules",
        "_pydecimal cmath decimal fractions functools itertools math numbers operator random statistics",
    ),
    "files-and-persistence": (
        "File and Directory Access; Data Persistence; File Formats",
        "configparser copyreg csv dbm filecmp fileinput fnmatch genericpath glob linecache marshal netrc "
        "ntpath nturl2path pathlib pickle plistlib posixpath shelve shutil sqlite3 stat tempfile tomllib "
        "xdrlib",
    ),
    "compression-and-cryptography": (
        "Data Compression and Archiving; Cryptographic Services",
        "_compression bz2 compression crypt gzip hashlib hmac lzma secrets tarfile zipfile zlib",
    ),
    "operating-system": (
        "Generic Operating System Services; Command-line interface libraries; "
        "Unix-specific Services; MS Windows-specific Services",
        "_pyio argparse ctypes curses errno fcntl getopt getpass grp io logging nis optparse os pipes "
        "platform pty pwd resource syslog termios time tty",
    ),
    "concurrency": (
        "Concurrent Execution",
        "_threading_local concurrent contextvars dummy_threading multiprocessing queue sched subprocess "
        "threading",
    ),
    "networking": (
        "Networking and Interprocess Communication",
        "asynchat asyncio asyncore mmap select selectors signal socket ssl",
    ),
    "internet-data-and-markup": (
        "Internet Data Handling; Structured Markup Processing Tools",
        "_markupbase base64 binascii binhex email html json mailbox mailcap mimetypes quopri uu xml",
    ),
    "internet-protocols": (
        "Internet Protocols and Support",
        "cgi cgitb ftplib http imaplib ipaddress nntplib poplib smtpd smtplib socketserver telnetlib urllib "
        "uuid webbrowser wsgiref xmlrpc",
    ),
    "graphical-interfaces": (
        "Graphical User Interfaces with Tk; Program Frameworks",
        "cmd shlex tkinter turtle turtledemo",
    ),
    "development-tools": (
        "Development Tools; Debugging and Profiling; Software Packaging and Distribution",
        "bdb cProfile distutils doctest ensurepip faulthandler lib2to3 pdb profile pstats pydoc timeit trace "
        "tracemalloc typing unittest venv zipapp",
    ),
    "runtime": (
        "Python Runtime Services; Custom Python Interpreters",
        "__future__ _py_abc abc annotationlib atexit code codeop contextlib dataclasses gc inspect site sys "
        "sysconfig traceback warnings",
    ),
    "importing-and-language": (
        "Importing Modules; Python Language Services",
        "ast compileall dis imp importlib keyword modulefinder opcode pickletools pkgutil py_compile pyclbr "
        "runpy symtable tabnanny token tokenize zipimport",
    ),
}

_SECTION_OF = {module: label for label, (_, modules) in SECTIONS.items() for module in modules.split()}


def section_of(module: str) -> str | None:
    """Return a module's section; None for a module that is in none of them."""
    return _SECTION_OF.get(module.partition(".")[0])
