/* Every SQL statement of the SQLite backend: STATEMENT(name, text). Included where the list is needed, so there is no
 * include guard. Keys of events, blocks, search texts and usage are number << 32 | seq. */
// clang-format off
STATEMENT(BEGIN, "BEGIN IMMEDIATE")
STATEMENT(COMMIT, "COMMIT")
STATEMENT(ROLLBACK, "ROLLBACK")

/* counters */
STATEMENT(COUNTER_GET, "SELECT value FROM counter WHERE name = ?1")
STATEMENT(COUNTER_SET, "UPDATE counter SET value = ?2 WHERE name = ?1")

/* conversations */
STATEMENT(HEAD_LOAD, "SELECT token, last_commit, next_seq, leaf_seq, branch, next_usage, status, updated_us FROM conversation WHERE number = ?1")
STATEMENT(HEAD_UPDATE, "UPDATE conversation SET last_commit = ?2, next_seq = ?3, leaf_seq = ?4, branch = ?5, next_usage = ?6, updated_us = ?7 WHERE number = ?1")
STATEMENT(HEAD_STATUS, "UPDATE conversation SET status = ?2 WHERE number = ?1")
STATEMENT(HEAD_TOKEN, "UPDATE conversation SET token = ?2 WHERE number = ?1")
STATEMENT(HEAD_INSERT, "INSERT INTO conversation(number, id, kind, status, created_us, updated_us, token, last_commit, next_seq, leaf_seq, branch, next_usage) VALUES(?1, ?2, ?3, ?4, ?5, ?5, 0, 0, ?6, ?7, ?8, 0)")
STATEMENT(HEAD_KIND, "SELECT kind FROM conversation WHERE number = ?1")
STATEMENT(HEAD_PUBLISH, "UPDATE conversation SET id = ?2, kind = ?3 WHERE number = ?1")
STATEMENT(HEAD_UNFINISHED, "SELECT number FROM conversation WHERE kind = 2 LIMIT 1")
STATEMENT(HEAD_DELETE, "DELETE FROM conversation WHERE number = ?1")
STATEMENT(HEAD_EXISTS, "SELECT number FROM conversation WHERE id = ?1")
STATEMENT(TEXT_INSERT, "INSERT INTO conversation_text(number, title, state) VALUES(?1, ?2, ?3)")
STATEMENT(TEXT_TITLE, "UPDATE conversation_text SET title = ?2 WHERE number = ?1")
STATEMENT(TEXT_STATE, "UPDATE conversation_text SET state = ?2 WHERE number = ?1")
STATEMENT(TEXT_DELETE, "DELETE FROM conversation_text WHERE number = ?1")
STATEMENT(CONFIG_INSERT, "INSERT INTO conversation_config(number, config) VALUES(?1, ?2)")
STATEMENT(CONFIG_SET, "UPDATE conversation_config SET config = ?2 WHERE number = ?1")
STATEMENT(CONFIG_DELETE, "DELETE FROM conversation_config WHERE number = ?1")
STATEMENT(PLACE_INSERT, "INSERT INTO conversation_place(number, place) VALUES(?1, ?2)")
STATEMENT(PLACE_COPY, "INSERT INTO conversation_place(number, place) SELECT ?2, place FROM conversation_place WHERE number = ?1")
STATEMENT(PLACE_DELETE, "DELETE FROM conversation_place WHERE number = ?1")
STATEMENT(PLACE_FIND, "SELECT c.id FROM conversation_place p JOIN conversation c ON c.number = p.number WHERE p.place = ?1 ORDER BY p.number DESC LIMIT 1")
#define ROW_COLUMNS "c.number, c.id, c.kind, c.status, c.created_us, c.updated_us, c.next_seq, c.leaf_seq, c.branch, t.title, t.state, g.config"
#define ROW_TABLES " FROM conversation c JOIN conversation_text t ON t.number = c.number JOIN conversation_config g ON g.number = c.number "
STATEMENT(ROW_GET, "SELECT " ROW_COLUMNS ROW_TABLES "WHERE c.id = ?1")
/* `kind` is a term, `+kind` where reading the whole narrow table beats going through an index to every row of it. */
#define LIST(kind, key, compare, direction) "SELECT " ROW_COLUMNS ROW_TABLES "WHERE c.number IN (SELECT number FROM conversation WHERE " kind " = ?1 AND (?2 < 0 OR status = ?2) AND (?3 IS NULL OR (" key ", number) " compare " (?3, ?4)) ORDER BY " key " " direction ", number " direction " LIMIT ?5 OFFSET ?6) ORDER BY c." key " " direction ", c.number " direction
STATEMENT(LIST_CREATED_ASC, LIST("kind", "created_us", ">=", "ASC"))
STATEMENT(LIST_CREATED_DESC, LIST("kind", "created_us", "<=", "DESC"))
STATEMENT(LIST_UPDATED_ASC, LIST("+kind", "updated_us", ">=", "ASC"))
STATEMENT(LIST_UPDATED_DESC, LIST("+kind", "updated_us", "<=", "DESC"))
STATEMENT(LIST_FROM, "SELECT created_us, updated_us, number FROM conversation WHERE id = ?1")
STATEMENT(COUNT_KIND, "SELECT count(*) FROM conversation WHERE kind = ?1")
STATEMENT(COUNT_STATUS, "SELECT count(*) FROM conversation WHERE status = ?2 AND kind = ?1")
STATEMENT(IDS_WITH_STATUS, "SELECT id FROM conversation WHERE status = ?1 ORDER BY created_us, number LIMIT ?2")

/* events */
STATEMENT(EVENT_INSERT, "INSERT INTO event(key, id, kind, source, time_us, place, body) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")
STATEMENT(BODY_INSERT, "INSERT INTO event_body(side, reduced, json) VALUES(?1, ?2, ?3)")
STATEMENT(EVENT_ID, "SELECT id FROM event WHERE key = ?1")
STATEMENT(EVENT_META, "SELECT key, id, kind, source, time_us FROM event WHERE key >= ?1 AND key < ?2 ORDER BY key")
#define ITEM_COLUMNS(json) "e.key, e.id, e.kind, e.source, e.time_us, e.place, b.reduced IS NOT NULL, " json ", b.side FROM event e CROSS JOIN event_body b ON b.id = e.body WHERE e.key >= ?1 AND e.key < ?2"
#define ALIVE " AND EXISTS (SELECT 1 FROM conversation WHERE number = ?3) "
STATEMENT(EVENT_PAGE, "SELECT " ITEM_COLUMNS("coalesce(b.reduced, b.json)") ALIVE "ORDER BY e.key")
STATEMENT(EVENT_PAGE_WHOLE, "SELECT " ITEM_COLUMNS("b.json") ALIVE "ORDER BY e.key")
STATEMENT(EVENT_PAGE_DESC, "SELECT " ITEM_COLUMNS("coalesce(b.reduced, b.json)") ALIVE "ORDER BY e.key DESC")
STATEMENT(EVENT_PAGE_BRANCH, "SELECT " ITEM_COLUMNS("b.json") " AND e.place = ?4" ALIVE "ORDER BY e.key")
STATEMENT(BLOCK_INSERT, "INSERT INTO event_block(key, data) VALUES(?1, ?2)")
STATEMENT(BLOCK_GET, "SELECT data FROM event_block WHERE key = ?1")
STATEMENT(SEARCH_INSERT, "INSERT INTO event_search(key, text) VALUES(?1, ?2)")
STATEMENT(SEARCH_ASC, "SELECT key, text FROM event_search WHERE key >= ?1 AND key < ?2 ORDER BY key")
STATEMENT(SEARCH_DESC, "SELECT key, text FROM event_search WHERE key >= ?1 AND key < ?2 ORDER BY key DESC")
STATEMENT(NEXT_SEQ, "SELECT next_seq FROM conversation WHERE number = ?1")

/* branches, usage */
STATEMENT(BRANCH_INSERT, "INSERT INTO branch(number, branch, parent, at_seq) VALUES(?1, ?2, ?3, ?4)")
STATEMENT(BRANCH_LIST, "SELECT branch, parent, at_seq FROM branch WHERE number = ?1 AND EXISTS (SELECT 1 FROM conversation WHERE number = ?1) ORDER BY branch")
STATEMENT(USAGE_INSERT, "INSERT INTO usage(key, usage_id, model, response_id, cost, seconds, prompt, completion, cache_read, cache_write, reasoning, context_window, time_us) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)")
STATEMENT(USAGE_ADD, "INSERT INTO usage_sum(number, usage_id, place, model, last_response_id, cost, calls, prompt, completion, cache_read, cache_write, reasoning, context_window, last_prompt, last_completion) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10, ?11, ?12, ?7, ?8) "
    "ON CONFLICT DO UPDATE SET model = excluded.model, last_response_id = excluded.last_response_id, cost = cost + excluded.cost, calls = calls + 1, prompt = prompt + excluded.prompt, completion = completion + excluded.completion, cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write, reasoning = reasoning + excluded.reasoning, context_window = excluded.context_window, last_prompt = excluded.last_prompt, last_completion = excluded.last_completion")
STATEMENT(USAGE_SUMS, "SELECT usage_id, model, last_response_id, cost, calls, prompt, completion, cache_read, cache_write, reasoning, context_window, last_prompt, last_completion FROM usage_sum WHERE number = ?1 AND EXISTS (SELECT 1 FROM conversation WHERE number = ?1) ORDER BY place")
STATEMENT(USAGE_READ, "SELECT usage_id, model, response_id, cost, seconds, prompt, completion, cache_read, cache_write, reasoning, context_window, time_us FROM usage WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3")

/* blobs: content is shared by the blobs of copies */
STATEMENT(BLOB_EXISTS, "SELECT content FROM blob WHERE number = ?1 AND id = ?2")
STATEMENT(BLOB_INSERT, "INSERT INTO blob(number, id, content, size) VALUES(?1, ?2, ?3, ?4)")
STATEMENT(BLOB_GET, "SELECT content, size FROM blob WHERE number = ?1 AND id = ?2 AND EXISTS (SELECT 1 FROM conversation WHERE number = ?1)")
STATEMENT(BLOB_ANY, "SELECT content, id FROM blob WHERE number = ?1 LIMIT 1")
STATEMENT(BLOB_DELETE, "DELETE FROM blob WHERE number = ?1 AND id = ?2")
STATEMENT(BLOB_SHARED, "SELECT 1 FROM blob WHERE content = ?1 AND NOT (number = ?2 AND id = ?3) LIMIT 1")
STATEMENT(CHUNK_INSERT, "INSERT INTO blob_chunk(key, data) VALUES(?1, ?2)")
STATEMENT(CHUNK_READ, "SELECT data FROM blob_chunk WHERE key >= ?1 AND key < ?2 ORDER BY key")

/* documents */
STATEMENT(DOC_PUT, "INSERT INTO document(space, name, value) VALUES(?1, ?2, ?3) ON CONFLICT(space, name) DO UPDATE SET value = excluded.value")
STATEMENT(DOC_DELETE, "DELETE FROM document WHERE space = ?1 AND name = ?2")
STATEMENT(DOC_GET, "SELECT value FROM document WHERE space = ?1 AND name = ?2")
STATEMENT(DOC_KEYS, "SELECT name FROM document WHERE space = ?1 ORDER BY name")

/* work that is done in slices */
STATEMENT(WORK_INSERT, "INSERT INTO work(id, kind, number, source, upto, at, target, row_kind, status, created_us, title, state, config) VALUES(?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")
STATEMENT(WORK_SIMPLE, "INSERT INTO work(id, kind, number, source, upto, at) VALUES(?1, ?2, ?3, 0, 0, 0)")
STATEMENT(WORK_KIND, "UPDATE work SET kind = ?2, target = NULL, at = 0 WHERE id = ?1")
STATEMENT(WORK_AT, "UPDATE work SET at = ?2 WHERE id = ?1")
STATEMENT(WORK_DELETE, "DELETE FROM work WHERE id = ?1")
STATEMENT(WORK_LOAD, "SELECT id, kind, number, source, upto, at FROM work ORDER BY id")
STATEMENT(WORK_ROW, "SELECT target, row_kind, status, created_us, title, state, config FROM work WHERE id = ?1")
STATEMENT(WORK_TARGET, "SELECT id FROM work WHERE target = ?1")
#define SLICE(table) "DELETE FROM " table " WHERE key IN (SELECT key FROM " table " WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3)"
STATEMENT(SLICE_EVENT, SLICE("event"))
STATEMENT(SLICE_BODY, "DELETE FROM event_body WHERE id IN (SELECT body FROM event WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3)")
STATEMENT(SLICE_SEARCH, SLICE("event_search"))
STATEMENT(SLICE_BLOCK, SLICE("event_block"))
STATEMENT(SLICE_USAGE, SLICE("usage"))
STATEMENT(SLICE_CHUNK, SLICE("blob_chunk"))
STATEMENT(DROP_BRANCHES, "DELETE FROM branch WHERE number = ?1")
STATEMENT(DROP_SUMS, "DELETE FROM usage_sum WHERE number = ?1")
STATEMENT(COPY_BODY, "INSERT INTO event_body(side, reduced, json) SELECT side, reduced, json FROM event_body WHERE id = (SELECT body FROM event WHERE key = ?1)")
STATEMENT(COPY_EVENT, "INSERT INTO event(key, id, kind, source, time_us, place, body) SELECT ?2, id, kind, source, time_us, place, ?3 FROM event WHERE key = ?1")
STATEMENT(COPY_SEARCH, "INSERT INTO event_search(key, text) SELECT key - ?1 + ?2, text FROM event_search WHERE key >= ?1 + ?3 AND key < ?1 + ?4")
STATEMENT(COPY_BLOCKS, "INSERT INTO event_block(key, data) SELECT key - ?1 + ?2, data FROM event_block WHERE key >= ?1 + ?3 AND key < ?1 + ?4 AND key - ?1 + 256 <= ?5")
STATEMENT(COPY_BRANCHES, "INSERT INTO branch(number, branch, parent, at_seq) SELECT ?2, branch, parent, at_seq FROM branch WHERE number = ?1 AND at_seq < ?3")
STATEMENT(COPY_BLOBS, "INSERT INTO blob(number, id, content, size) SELECT ?2, id, content, size FROM blob WHERE number = ?1")
STATEMENT(LAST_PLACE, "SELECT key, place FROM event WHERE key >= ?1 AND key < ?2 AND place & 1 ORDER BY key DESC LIMIT 1")
// clang-format on
