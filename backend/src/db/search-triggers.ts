/** The indexed columns of a message (see search/store.ts) that a statement may change. */
const changing = ['text', '"chatId"', '"fromId"', 'type', 'origin'];

/**
 * What queues a message for the search index: a new message, one of which an indexed column changes, and one that is gone. Triggers, because every
 * path that writes a message must do it in its own transaction, also a migration or a person with a database client.
 */
export const sqliteTriggers = [
  `CREATE TRIGGER IF NOT EXISTS messages_search_insert AFTER INSERT ON messages
    BEGIN INSERT INTO search_queue ("messageId") VALUES (NEW.id); END`,
  `CREATE TRIGGER IF NOT EXISTS messages_search_update AFTER UPDATE OF ${changing.join(', ')} ON messages
    WHEN ${changing.map((column) => `OLD.${column} IS NOT NEW.${column}`).join(' OR ')}
    BEGIN INSERT INTO search_queue ("messageId") VALUES (NEW.id); END`,
  `CREATE TRIGGER IF NOT EXISTS messages_search_delete AFTER DELETE ON messages
    BEGIN INSERT INTO search_queue ("messageId") VALUES (OLD.id); END`,
];

/** The insert trigger runs once for each statement: messages are accepted many at a time. */
export const postgresTriggers = [
  `CREATE OR REPLACE FUNCTION messages_search_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO search_queue ("messageId") SELECT id FROM fresh; RETURN NULL; END $$`,
  `CREATE OR REPLACE FUNCTION messages_search_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO search_queue ("messageId") VALUES (OLD.id); RETURN NULL; END $$`,
  `CREATE OR REPLACE TRIGGER messages_search_insert AFTER INSERT ON messages REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION messages_search_inserted()`,
  `CREATE OR REPLACE TRIGGER messages_search_update AFTER UPDATE OF ${changing.join(', ')} ON messages
    FOR EACH ROW WHEN ((${changing.map((column) => `OLD.${column}`).join(', ')}) IS DISTINCT FROM (${changing.map((column) => `NEW.${column}`).join(', ')}))
    EXECUTE FUNCTION messages_search_changed()`,
  `CREATE OR REPLACE TRIGGER messages_search_delete AFTER DELETE ON messages
    FOR EACH ROW EXECUTE FUNCTION messages_search_changed()`,
];
