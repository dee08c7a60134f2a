/**
 * What queues a message for the search index: a new text, a changed one, and one that is gone. Triggers, because every path that writes a message must
 * do it in its own transaction, also a migration or a person with a database client.
 */
export const sqliteTriggers = [
  `CREATE TRIGGER IF NOT EXISTS messages_search_insert AFTER INSERT ON messages WHEN NEW.text IS NOT NULL
    BEGIN INSERT INTO search_queue ("messageId") VALUES (NEW.id); END`,
  `CREATE TRIGGER IF NOT EXISTS messages_search_update AFTER UPDATE OF text ON messages WHEN OLD.text IS NOT NEW.text
    BEGIN INSERT INTO search_queue ("messageId") VALUES (NEW.id); END`,
  `CREATE TRIGGER IF NOT EXISTS messages_search_delete AFTER DELETE ON messages WHEN OLD.text IS NOT NULL
    BEGIN INSERT INTO search_queue ("messageId") VALUES (OLD.id); END`,
];

/** The insert trigger runs once for each statement: messages are accepted many at a time. */
export const postgresTriggers = [
  `CREATE OR REPLACE FUNCTION messages_search_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO search_queue ("messageId") SELECT id FROM fresh WHERE text IS NOT NULL; RETURN NULL; END $$`,
  `CREATE OR REPLACE FUNCTION messages_search_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO search_queue ("messageId") VALUES (OLD.id); RETURN NULL; END $$`,
  `CREATE OR REPLACE TRIGGER messages_search_insert AFTER INSERT ON messages REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION messages_search_inserted()`,
  `CREATE OR REPLACE TRIGGER messages_search_update AFTER UPDATE OF text ON messages
    FOR EACH ROW WHEN (OLD.text IS DISTINCT FROM NEW.text) EXECUTE FUNCTION messages_search_changed()`,
  `CREATE OR REPLACE TRIGGER messages_search_delete AFTER DELETE ON messages
    FOR EACH ROW WHEN (OLD.text IS NOT NULL) EXECUTE FUNCTION messages_search_changed()`,
];
