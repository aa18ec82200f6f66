"""What a database says that is in trouble -> what its user can do about it."""

from __future__ import annotations

# A word of its message.
SQLITE = (
    ("locked", "another process holds the write lock for longer than busy_timeout_seconds: it is retried"),
    ("full", "the disk is full: free some space, then retry"),
    ("readonly", "it is read-only: check the file's and the folder's permissions"),
    ("read-only", "it is read-only: check the file's and the folder's permissions"),
    ("unable to open", "check that its folder exists and can be written to, or set database_url"),
    ("no such table", "it was replaced while in use: restore the file, or run `store init` for an empty one"),
    ("disk i/o", "the disk failed: check it, restore from a backup if `PRAGMA integrity_check` complains"),
    ("malformed", "the file is damaged: stop the workers, restore a backup, send the files again"),
)

# SQLSTATE, or the class that it begins with: the longest that fits counts.
POSTGRESQL = {
    "08": "the connection broke: it is retried; check the network and that the server runs",
    "25P03": "this process did nothing for too long inside a transaction, which was rolled back: it is retried",
    "25006": "it is read-only, perhaps a standby: give database_url the server that takes writes",
    "28": "check the user and password of database_url, and the server's pg_hba.conf",
    "3D000": "create it (createdb), or correct database_url",
    "40001": "another transaction was in the way: it is retried",
    "40P01": "it and another transaction waited for each other: it is retried",
    "42501": "give the role the rights that docs/many-hosts.md lists",
    "42939": "the server keeps names that begin with pg_ for itself: give database_schema another one",
    "42P01": "it was replaced while in use: restore it, or run `store init` for an empty one",
    "53100": "its disk is full: free some space, then retry",
    "53200": "it is out of memory: it is retried",
    "53300": "it has too many connections: start fewer workers, or raise its max_connections; it is retried",
    "53": "it lacks resources: it is retried",
    "55P03": "another process holds the write lock for longer than busy_timeout_seconds: it is retried",
    "57014": "the statement was cancelled: it is retried",
    "57P": "the server stops or starts: it is retried",
    "58": "the server's disk failed: check it; restore from a backup if data is damaged",
    "XX001": "data is damaged: stop the workers, restore a backup, send the files again",
    "XX002": "an index is damaged: REINDEX it",
}

# SQLite calls these operational too, and no waiting mends them.
SQLITE_MISTAKES = (
    "no such column",
    "no such function",
    "near ",
    "table ",
    "incomplete input",
    "row value misused",
)
