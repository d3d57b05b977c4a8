/* title: a few words for the first message of a conversation. By itself, once, after that message; and on request. The
 * model is called beside everything else: nobody waits for it, and what has a title meanwhile, or has gone, gets none. */
#include "base/log.h"
#include "base/utf8.h"
#include "conversation/internal.h"

#define TITLE_CHARS 50
#define TITLE_MESSAGE_CHARS 1000 /* of the message that the model reads */
#define TITLE_ATTEMPTS 4         /* a server that refuses optional parameters names one at a time */
#define TITLE_SEARCH 20          /* first messages of the user that are searched for one with a text */

#define ROLE                                                                                                                \
    "You write titles for conversations in which people give tasks to a software agent. From the first message you make a " \
    "short title that says what the conversation is about. Answer with the title alone: no quotes, no explanation."
#define EMOJIS                                                                                                              \
    "Begin it with the one emoji of these that fits best: \xF0\x9F\x92\x84 user interface, \xF0\x9F\x91\x94 server logic, " \
    "\xE2\x9C\x85 tests, \xF0\x9F\x91\xB7 build and CI, \xF0\x9F\x9A\x80 deployment, \xF0\x9F\x93\xA6 packages, "           \
    "\xF0\x9F\x97\x83 database, \xF0\x9F\x94\xA7 chores and settings, \xE2\x9C\xA8 new feature, \xF0\x9F\x90\x9B bug, "     \
    "\xE2\x9A\xA1 speed, \xF0\x9F\x94\x92 security, \xF0\x9F\x93\x9D documentation, \xE2\x99\xBB refactoring."
#define CUT "...(truncated)"

struct title {
    struct conversation *c; /* a reference */
    struct llm *llm;        /* a reference */
    struct mask *mask;
    struct buf message; /* the first message's text */
    struct buf text;    /* the title */
    struct err *failed; /* why it is not the model's; NULL: no matter */
    struct llm_usage usage;
    struct buf response_id;
    int64_t max;
    unsigned attempt;
    uint64_t aside;
    conversation_told done; /* NULL: stored in the conversation */
    void *arg;
};

static void title_free(struct title *t)
{
    llm_unref(t->llm);
    mask_unref(t->mask);
    err_free(t->failed);
    buf_deinit(&t->message);
    buf_deinit(&t->text);
    buf_deinit(&t->response_id);
    conversation_unref(t->c);
    free(t);
}

/* --- words --- */

/* White space of any kind becomes one space; what is too long ends in three dots. */
static void title_set(struct title *t, struct str text)
{
    autobuf plain = {0};
    size_t max = (size_t)t->max;
    text = str_trim(text);
    for (size_t i = 0; i < text.n; i++) {
        bool space = (unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7F;
        if (!space || (plain.n > 0 && plain.p[plain.n - 1] != ' '))
            buf_add_char(&plain, space ? ' ' : text.p[i]);
    }
    struct str line = buf_str(&plain);
    buf_clear(&t->text);
    if (utf8_count(line) <= max) {
        buf_add(&t->text, line);
    } else {
        buf_add(&t->text, utf8_prefix(line, max > 3 ? max - 3 : max));
        buf_add(&t->text, max > 3 ? STR("...") : STR(""));
    }
}

/* Models put quotes around a title all the same. */
static struct str unquoted(struct str text)
{
    text = str_trim(text);
    if (text.n >= 2 && (text.p[0] == '"' || text.p[0] == '\'') && text.p[text.n - 1] == text.p[0])
        return str_trim(str_sub(text, 1, text.n - 1));
    return text;
}

static bool message_text(const struct store_item *item, struct buf *out)
{
    autojson doc = json_parse_trusted(item->json, NULL);
    const struct json_value *content = json_get(json_get(json_root(doc), "llm_message"), "content");
    for (struct json_iter it = json_iter(content); json_next(&it);) {
        struct str text = str_trim(json_get_str(it.value, "text"));
        if (text.n > 0 && out->n > 0)
            buf_add_char(out, ' ');
        buf_add(out, text);
    }
    return out->n > 0;
}

/* *worker* */
static bool first_message(struct title *t, struct err **e)
{
    autoarena arena = arena_new();
    struct store_filter filter = {
        .kind = EVENT_MESSAGE,
        .source = SOURCE_USER,
        .since_us = INT64_MIN,
        .until_us = INT64_MAX,
        .from_seq = -1,
        .limit = TITLE_SEARCH,
        .bytes_max = STORE_PAGE_BYTES,
    };
    struct store_item *items;
    size_t n = 0;
    int64_t next;
    if (!store_search(t->c->service->config.store, t->c->number, &filter, arena, &items, &n, &next, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (message_text(&items[i], &t->message))
            return true;
    return err_set(e, ERR_INVALID, "the conversation has no message of the user yet");
}

/* --- the model --- */

static void title_answered(void *arg, const struct llm_answer *answer, const struct err *e);

static void title_ask(struct title *t)
{
    autobuf prompt = {0};
    char id[UUID_DASHED_LEN + 1];
    struct str message = buf_str(&t->message), head = utf8_prefix(message, TITLE_MESSAGE_CHARS);
    buf_addf(&prompt,
             "Write a title of at most %lld characters for the conversation that begins like this:\n\n",
             (long long)t->max);
    buf_add(&prompt, head);
    buf_add(&prompt, head.n < message.n ? STR(CUT "\n\n") : STR("\n\n"));
    buf_add(&prompt, STR(EMOJIS));
    struct llm_part role = {.type = LLM_TEXT, .text = STR(ROLE)};
    struct llm_part text = {.type = LLM_TEXT, .text = buf_str(&prompt)};
    struct llm_message messages[] = {{.role = LLM_SYSTEM, .parts = &role, .part_count = 1},
                                     {.role = LLM_USER, .parts = &text, .part_count = 1}};
    struct llm_request request = {
        .messages = messages, .message_count = 2, .conversation = uuid_dashed(&t->c->id, id)};
    t->attempt++;
    struct conversations *s = t->c->service;
    uint64_t aside = t->aside = aside_begin(s);
    aside_started(s, aside, llm_start(t->llm, &s->config.llm, &request, title_answered, t));
}

static void title_ask_again(void *arg)
{
    title_ask(arg);
}

static void title_end(void *arg);

static void title_take(struct title *t, const struct llm_answer *answer, const struct err *e)
{
    autobuf text = {0};
    bool silent = answer && str_is(answer->finish_reason, SCRIPT_SILENT); /* the script has no title */
    if (answer && !silent)
        mask_apply(t->mask, unquoted(answer->text), &text);
    title_set(t, buf_str(&text));
    if (t->text.n == 0)
        title_set(t, buf_str(&t->message));
    if (answer) {
        t->usage = answer->usage;
        buf_add(&t->response_id, answer->usage.response_id);
        t->usage.response_id = buf_str(&t->response_id);
        return;
    }
    buf_clear(&text);
    mask_apply(t->mask, str_from(err_text(e)), &text);
    err_set(&t->failed, e->kind, "%.*s", STR_ARG(buf_str(&text)));
    err_set_code(&t->failed, e->code ? e->code : "RuntimeError");
}

static void title_refuse(struct title *t)
{
    autoerr e = NULL;
    err_set(&e, ERR_BUSY, "the server is shutting down");
    if (t->done)
        t->done(t->arg, STR_NONE, e);
    title_free(t);
}

/* Outward thread (or the worker's, for a scripted model). */
static void title_answered(void *arg, const struct llm_answer *answer, const struct err *e)
{
    struct title *t = arg;
    struct pool *pool = t->c->service->config.pool;
    aside_end(t->c->service, t->aside);
    if (atomic_load(&t->c->service->closing)) { /* there may be no workers any more */
        title_refuse(t);
        return;
    }
    if (!answer && e->kind == ERR_CONFLICT && t->attempt < TITLE_ATTEMPTS) {
        pool_submit_always(pool, title_ask_again, t);
        return;
    }
    title_take(t, answer, e);
    pool_submit_always(pool, title_end, t);
}

/* --- what becomes of it --- */

/* Under the append lock: title, what it cost and why it is not the model's, in one commit. */
static void title_store(struct title *t, struct err **e)
{
    struct conversation *c = t->c;
    struct event_draft d;
    size_t n = 0;
    struct append_usage usage = {.model = llm_model(t->llm), .usage_id = llm_usage_id(t->llm)};
    if (t->usage.prompt_tokens > 0 || t->usage.completion_tokens > 0 || t->usage.cost > 0)
        usage.usage = &t->usage;
    struct state *next = state_copy(c->pending);
    event_draft_init(&d, EVENT_CONVERSATION_ERROR, SOURCE_ENVIRONMENT);
    if (!next->doc->title && t->text.n > 0) {
        struct doc *doc = doc_copy(next->doc);
        doc->title = bytes_new(buf_str(&t->text));
        state_set_doc(next, doc);
        if (t->failed) {
            event_error_body(&d, t->failed->code, str_from(t->failed->text));
            n = 1;
        }
    }
    append_locked(c, &d, n, next, &usage, NULL, NULL, e);
    event_draft_deinit(&d);
}

static void title_end(void *arg)
{
    struct title *t = arg;
    autoerr e = NULL;
    if (t->done) {
        conversation_note_usage(t->c, t->llm, llm_usage_id(t->llm), &t->usage);
        t->done(t->arg, buf_str(&t->text), NULL);
    } else if (lock_sound(t->c, NULL, &e)) {
        title_store(t, &e);
        thread_unlock(&t->c->lock);
    }
    if (e)
        log_info("a title was not stored: %s", err_text(e));
    title_free(t);
}

static struct title *title_new(struct conversation *c, int64_t max)
{
    struct title *t = xcalloc(1, sizeof(*t));
    struct state *now = committed_get(c);
    t->c = conversation_ref(c);
    t->mask = conversation_mask(c, now->config);
    t->max = max;
    if (now->config->agent)
        t->llm = llm_ref(agent_llm(now->config->agent));
    state_unref(now);
    return t;
}

static void title_work(void *arg)
{
    struct title *t = arg;
    autoerr e = NULL;
    if (t->llm && first_message(t, &e))
        title_ask(t);
    else
        title_free(t);
}

void conversation_title_begin(struct conversation *c)
{
    if (!atomic_load(&c->service->closing)) /* there may be no workers any more */
        pool_submit_always(c->service->config.pool, title_work, title_new(c, TITLE_CHARS));
}

void conversation_make_title(struct conversation *c, const struct json_value *llm, int64_t max_length,
                             conversation_told done, void *arg)
{
    autoerr e = NULL;
    struct title *t = title_new(c, max_length);
    t->done = done;
    t->arg = arg;
    if (!json_is_null(llm)) {
        llm_unref(t->llm);
        t->llm = llm_new(llm, c->service->config.env, &e);
        if (!t->llm)
            err_prefix(&e, "llm");
    }
    if (t->llm && first_message(t, &e)) {
        title_ask(t);
        return;
    }
    err_set(&e, ERR_INVALID, "the agent's configuration cannot be used");
    title_free(t);
    done(arg, STR_NONE, e);
}
