-- Version 2: the environments of projects, and their secrets. Never edited once released.

-- The project's part of its environment, sealed. `what` names variables, never values.
CREATE TABLE environment (
    uid        INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    text       TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    what       TEXT NOT NULL,
    PRIMARY KEY (uid, version)
) STRICT, WITHOUT ROWID;

-- The environment that a release ran with last.
ALTER TABLE release ADD COLUMN env INTEGER;

-- The vault. The value is sealed for project, name and version; of a name that was rotated the version
-- before stays until the process has been started anew.
CREATE TABLE secret (
    uid        INTEGER NOT NULL,
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    value      TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    PRIMARY KEY (uid, name, version)
) STRICT, WITHOUT ROWID;
