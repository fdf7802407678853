-- Version 3: what was done to a project's data before a release went live. Never edited once released.

ALTER TABLE release ADD COLUMN phase TEXT;
