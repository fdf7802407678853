-- Version 4: what projects answer to, and what became of asking for certificates. Never edited once released.

-- Every address has one project.
CREATE TABLE address (
    name    TEXT PRIMARY KEY,
    project TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO address SELECT json_extract(spec, '$.domain'), name FROM project;

-- Failed tries to get a certificate; a success removes those of its address.
CREATE TABLE attempt (
    address TEXT NOT NULL,
    project TEXT NOT NULL,
    at      TEXT NOT NULL,
    problem TEXT NOT NULL
) STRICT;
