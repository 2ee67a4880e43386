"""The answer key: twelve parts of the standard library, after the chapters of the library reference.

A name stands for a module, or for a package with all that is in it; a private module stands where its public
face does. Left out: modules that later versions of Python drop, those that some distributions ship apart
(tkinter and what needs it, idlelib, ensurepip), and those whose chapter is a matter of taste. A name that is
missing on this machine is no error.
"""

from __future__ import annotations

CHAPTERS: dict[str, tuple[str, ...]] = {
    "text": (
        *(
            "re",
            "string",
            "difflib",
            "textwrap",
            "codecs",
            "stringprep",
            "gettext",
            "locale",
            "shlex",
            "pprint",
        ),
        *("reprlib", "base64", "quopri"),
    ),
    "markup and file formats": (
        *("html", "xml", "_markupbase", "json", "csv", "configparser", "plistlib", "netrc", "tomllib"),
    ),
    "numbers and dates": (
        *("numbers", "decimal", "_pydecimal", "fractions", "random", "statistics", "colorsys"),
        *("datetime", "_pydatetime", "_strptime", "calendar", "zoneinfo"),
    ),
    "data types and functions": (
        *("collections", "_collections_abc", "heapq", "bisect", "enum", "weakref", "_weakrefset", "types"),
        *(
            "copy",
            "dataclasses",
            "graphlib",
            "functools",
            "operator",
            "contextlib",
            "typing",
            "abc",
            "_py_abc",
        ),
    ),
    "files and directories": (
        *("os", "pathlib", "ntpath", "posixpath", "genericpath", "nturl2path", "shutil", "tempfile", "glob"),
        *("fnmatch", "filecmp", "fileinput", "linecache", "stat", "io", "_pyio"),
    ),
    "archives and persistence": (
        *("tarfile", "zipfile", "zipapp", "gzip", "bz2", "lzma", "_compression", "compression", "pickle"),
        *("_compat_pickle", "pickletools", "copyreg", "shelve", "dbm", "sqlite3", "wave"),
    ),
    "concurrency": (
        *("asyncio", "threading", "_threading_local", "multiprocessing", "concurrent", "subprocess"),
        *("sched", "queue", "selectors"),
    ),
    "networking": (
        *("socket", "ssl", "socketserver", "ipaddress", "http", "urllib", "wsgiref", "xmlrpc", "webbrowser"),
        *("ftplib", "poplib", "imaplib", "smtplib"),
    ),
    "mail": ("email", "mailbox", "mimetypes"),
    "testing and debugging": (
        *("unittest", "doctest", "bdb", "pdb", "trace", "traceback", "tracemalloc", "warnings", "pydoc"),
        *("timeit", "profile", "cProfile", "pstats"),
    ),
    "program interface": (
        *("argparse", "optparse", "getopt", "getpass", "cmd", "code", "codeop", "rlcompleter", "curses"),
        *("logging", "platform"),
    ),
    "importing and the language": (
        *("importlib", "pkgutil", "runpy", "zipimport", "modulefinder", "ast", "dis", "opcode", "symtable"),
        *(
            "tokenize",
            "token",
            "keyword",
            "tabnanny",
            "pyclbr",
            "py_compile",
            "compileall",
            "inspect",
            "site",
        ),
        *("sysconfig", "venv"),
    ),
}

LABELS: tuple[str, ...] = tuple(CHAPTERS)


def top_level_names() -> frozenset[str]:
    """Every name of the answer key, as it is and without a leading underscore."""
    names = {name for chapter in CHAPTERS.values() for name in chapter}
    return frozenset(names | {name.strip("_") for name in names})
