"""The tables of a store: one SQLite file, rowid tables, 32 KiB pages.

`blobs` holds nothing but content under its digest. What a listing shows lies in `versions` and `kinds`, so that it
reads none of the blobs' pages; what many adapters have in common is one row of `kinds`. `retired` has the highest
number that a removed version of a name had.
"""

from __future__ import annotations

import sqlite3

from nolakit.errors import StoreFormatError

APPLICATION_ID = 0x4E4F4C41  # "NOLA"
VERSION = 1
PAGE_BYTES = 32768

TABLES = """
CREATE TABLE blobs (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
  data BLOB NOT NULL CHECK (typeof(data) = 'blob')
);
CREATE TABLE kinds (
  id INTEGER PRIMARY KEY,
  method TEXT NOT NULL,
  bits INTEGER NOT NULL,
  base_model TEXT NOT NULL,
  base_fingerprint TEXT NOT NULL
);
CREATE TABLE versions (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number > 0),
  blob INTEGER NOT NULL REFERENCES blobs (id),
  kind INTEGER NOT NULL REFERENCES kinds (id),
  size INTEGER NOT NULL,
  created INTEGER NOT NULL,
  UNIQUE (name, number)
);
CREATE INDEX versions_of_a_blob ON versions (blob);
CREATE TABLE retired (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  last INTEGER NOT NULL
);
CREATE TABLE tags (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  tag TEXT NOT NULL,
  version INTEGER NOT NULL,
  UNIQUE (name, tag)
);
CREATE TABLE pins (
  id INTEGER PRIMARY KEY,
  blob INTEGER NOT NULL REFERENCES blobs (id),
  boot TEXT NOT NULL,
  space TEXT NOT NULL,
  pid INTEGER NOT NULL,
  started INTEGER NOT NULL,
  until INTEGER,
  who TEXT NOT NULL
);
CREATE TRIGGER blobs_are_immutable BEFORE UPDATE ON blobs
BEGIN SELECT RAISE(ABORT, 'a blob is never changed'); END;
CREATE TRIGGER numbers_are_used_once AFTER DELETE ON versions
BEGIN
  INSERT INTO retired (name, last) VALUES (OLD.name, OLD.number)
  ON CONFLICT (name) DO UPDATE SET last = max(last, excluded.last);
END;
CREATE TRIGGER tags_go_with_versions AFTER DELETE ON versions
BEGIN DELETE FROM tags WHERE name = OLD.name AND version = OLD.id; END;
CREATE TRIGGER versions_are_immutable BEFORE UPDATE ON versions
BEGIN SELECT RAISE(ABORT, 'a version is never changed'); END;
CREATE TRIGGER kinds_are_immutable BEFORE UPDATE ON kinds
BEGIN SELECT RAISE(ABORT, 'a kind is never changed'); END;
"""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database."""
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum = NONE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.executescript("BEGIN;" + TABLES + "COMMIT;")
    connection.execute("PRAGMA journal_mode = WAL")


def check(connection: sqlite3.Connection, path: str) -> None:
    """Raises StoreFormatError where the file is another application's, another version's, or has tables or
    triggers that are not a store's."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreFormatError(
            f"found {path!r}, an SQLite file with application_id {application:#x}; a store has {APPLICATION_ID:#x}. "
            "Make one with `nolakit store init`"
        )
    if version != VERSION:
        raise StoreFormatError(
            f"found {path!r}, a store of version {version}; this nolakit knows version {VERSION}. "
            "Update nolakit, or export the adapters where it is newer"
        )
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY sql").fetchall()
    if [sql for (sql,) in found] != _statements():
        raise StoreFormatError(f"found {path!r} with tables, indexes or triggers that a store does not have")


def _statements() -> list[str]:
    parts = TABLES.strip().removesuffix(";").split(";\nCREATE ")
    return sorted(f"CREATE {part.removeprefix('CREATE ')}" for part in parts)
