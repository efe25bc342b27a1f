-- Tokens by the SHA-256 of their text. Revoked ones stay, so that the audit log's names keep a meaning.
CREATE TABLE tokens (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    revoked_at INTEGER,
    body       ANY     NOT NULL
) STRICT;

CREATE UNIQUE INDEX tokens_in_use ON tokens (name) WHERE revoked_at IS NULL;

-- A token comes and is revoked; nothing else about it changes.
CREATE TRIGGER tokens_are_only_revoked BEFORE UPDATE ON tokens
WHEN OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL OR NEW.hash <> OLD.hash OR NEW.name <> OLD.name
BEGIN SELECT RAISE(ABORT, 'tokens are only revoked'); END;

CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    body   ANY     NOT NULL
) STRICT;

CREATE INDEX audit_at ON audit (at);

CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
