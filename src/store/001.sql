-- The registry and the journal of HostKit, version 1. Never edited once released.

CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- What is HostKit's on this host, by who it is for: a project's name, or '' for the host itself.
CREATE TABLE owned (
    owner     TEXT PRIMARY KEY,
    resources TEXT NOT NULL
) STRICT;

CREATE TABLE project (
    name       TEXT PRIMARY KEY,
    uid        INTEGER NOT NULL UNIQUE,
    port       INTEGER NOT NULL UNIQUE,
    spec       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

CREATE TABLE release (
    uid        INTEGER NOT NULL,
    id         TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('live', 'retired', 'failed', 'pruned')),
    app        TEXT NOT NULL,
    source     TEXT NOT NULL,
    files      INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (uid, id)
) STRICT;
CREATE UNIQUE INDEX one_live_release ON release (uid) WHERE state = 'live';

-- Deleted projects whose home and logs can still be had back.
CREATE TABLE trash (
    uid        INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    spec       TEXT NOT NULL,
    resources  TEXT NOT NULL,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    deleted_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;

CREATE TABLE operation (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    verb       TEXT NOT NULL,
    owner      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'done', 'undone')),
    caller     TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at   TEXT,
    outcome    TEXT
) STRICT;
CREATE INDEX open_operation ON operation (state) WHERE state = 'open';

-- The steps of an operation with their before-images: on disk before any of them acts.
CREATE TABLE step (
    operation INTEGER NOT NULL REFERENCES operation (id),
    seq       INTEGER NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (operation, seq)
) STRICT, WITHOUT ROWID;
