"""The statements of the SQLite store, as text, and the sentence for each way in which a database file refuses.

One append-only table holds every version; deletes are rows without a value. Two shapes are unusual on purpose. Each
step of a statement gives up the interpreter lock and, beside a busy event loop, waits up to a switch interval (5 ms) to
get it back. So a batch must not cost a step per row: `render_lookup` answers in one row whatever the number of keys,
and `render_append` is one multi-row INSERT, which is a transaction by itself.
"""

from __future__ import annotations

APPLICATION_ID = 0x53454157  # "SEAW", in the file's header: `file seaway.db` shows it
SCHEMA_VERSION = 1

SCHEMA = (
    """
    CREATE TABLE history (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        value BLOB,
        create_revision INTEGER NOT NULL,
        previous_revision INTEGER NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX history_by_key ON history (key, revision)",
    "CREATE TABLE progress (name TEXT PRIMARY KEY, revision INTEGER NOT NULL)",
    "INSERT INTO progress VALUES ('compacted', 0), ('swept', 0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

PROGRESS = "SELECT name, revision FROM progress"
LAST_REVISION = "SELECT max(revision) FROM history"
SET_PROGRESS = "UPDATE progress SET revision = ?2 WHERE name = ?1"

GET = """
    SELECT value, revision, create_revision FROM history WHERE key = ? AND revision <= ?
    ORDER BY revision DESC LIMIT 1
"""

LIST = """
    SELECT history.key, history.value, history.revision, history.create_revision
    FROM (
        SELECT key, max(revision) AS newest FROM history
        WHERE key > :after AND key >= :prefix AND (:end IS NULL OR key < :end) AND revision <= :revision
        GROUP BY key
    ) JOIN history ON history.revision = newest
    WHERE history.value IS NOT NULL
    LIMIT :limit
"""

# `+` keeps the planner on the revision order: a watcher resumes close to the end of the history.
EVENTS = """
    SELECT history.key, history.revision, history.value, before.value
    FROM history LEFT JOIN history AS before ON before.revision = history.previous_revision
    WHERE history.revision > :after AND history.revision <= :revision
      AND +history.key >= :prefix AND (:end IS NULL OR +history.key < :end)
    ORDER BY history.revision
"""

# A version can go once the one that replaced it is within compacted history; a delete, once it is itself.
SWEEP = (
    """
    DELETE FROM history WHERE revision IN (
        SELECT previous_revision FROM history WHERE revision > :after AND revision <= :upto AND previous_revision > 0
    )
    """,
    "DELETE FROM history WHERE revision > :after AND revision <= :upto AND value IS NULL",
    "UPDATE progress SET revision = :upto WHERE name = 'swept'",
)

LOOKUP_COLUMNS = 3


def render_lookup(count: int) -> str:
    """One row with (revision, create_revision, value) of the newest version of each of `count` keys."""
    newest = "(SELECT {} FROM history WHERE key = ?{} ORDER BY revision DESC LIMIT 1)"
    columns = ("revision", "create_revision", "value")
    return "SELECT " + ",".join(newest.format(column, n) for n in range(1, count + 1) for column in columns)


def render_append(count: int) -> str:
    """The statement that adds `count` rows (revision, key, value, create_revision, previous_revision)."""
    return "INSERT INTO history VALUES " + ",".join(["(?,?,?,?,?)"] * count)


_REFUSALS = {
    "SQLITE_FULL": "the disk is full; free space on its file system",
    "SQLITE_IOERR": "the file system refused to read or write; check free space, quotas and the disk",
    "SQLITE_CORRUPT": "the database is damaged; restore a copy, or move it away to start empty",
    "SQLITE_NOTADB": "not a database; move it away, or choose another --data-dir",
    "SQLITE_READONLY": "the file or its folder cannot be written; check owner and mode",
    "SQLITE_CANTOPEN": "the file or its folder cannot be opened; check that the folder exists, its owner and mode",
    "SQLITE_PERM": "the file or its folder cannot be opened; check owner and mode",
    "SQLITE_BUSY": "another program has the database open; end it, or choose another --data-dir",
    "SQLITE_LOCKED": "another program has the database open; end it, or choose another --data-dir",
}


def describe_refusal(path: str, error_name: str, detail: str) -> str:
    """One line for an SQLite error: the file, what was found, what to do. `error_name` may be an extended one."""
    primary = "_".join(error_name.split("_")[:2])
    sentence = _REFUSALS.get(primary)
    return f"{path}: {sentence} ({error_name})" if sentence else f"{path}: {detail} ({error_name})"
