/* lookup: secrets whose values are fetched from a URL, when a command first names them in a run. What was ever fetched stays
 * hidden in everything that is shown, as long as the conversation is in memory: the shell keeps it, too. */
#include "base/clock.h"
#include "base/log.h"
#include "conversation/turn.h"

#define LOOKUP_TIMEOUT_MS 10000
#define LOOKUP_VALUE_MAX (64 * 1024)
#define LOOKUP_AT_ONCE 32 /* secrets fetched for one command */
#define LOOKED_UP_MAX 256 /* values kept of one conversation; then nothing more is fetched */

struct fetch { /* the outward thread's until it is posted */
    struct mail mail;
    struct mailbox *mailbox;
    struct buf value;
    int status;
    struct err *error;
};

static void fetch_free(struct mail *m)
{
    struct fetch *f = CONTAINER_OF(m, struct fetch, mail);
    if (f->value.p)
        explicit_bzero(f->value.p, f->value.cap);
    buf_deinit(&f->value);
    err_free(f->error);
    free(f);
}

static bool on_data(void *arg, struct str data)
{
    struct fetch *f = arg;
    buf_add(&f->value, data);
    return true;
}

static void on_done(void *arg, const struct outward_result *result)
{
    struct fetch *f = arg;
    struct mailbox *mailbox = f->mailbox;
    f->status = result->status;
    f->error = result->error ? err_copy(result->error) : NULL;
    mailbox_post(mailbox, &f->mail);
    mailbox_unref(mailbox);
}

struct wanted { /* one secret to fetch */
    struct str name;
    uint64_t tag, call;
};

static void fetch_start(struct outward *outward, struct mailbox *mailbox, const struct json_value *source,
                        struct arena *arena, struct wanted *w)
{
    const struct json_value *headers = json_get(source, "headers");
    struct str *lines = arena_alloc(arena, (json_count(headers) + 1) * sizeof(*lines));
    size_t n = 0;
    for (struct json_iter it = json_iter(headers); json_next(&it);)
        if (json_type(it.value) == JSON_STRING)
            lines[n++] = arena_printf(arena, "%.*s: %.*s", STR_ARG(it.key), STR_ARG(json_str(it.value)));
    struct fetch *f = xcalloc(1, sizeof(*f));
    w->tag = mailbox_tag(mailbox);
    f->mail = (struct mail){.tag = w->tag, .free = fetch_free};
    f->mailbox = mailbox_ref(mailbox);
    w->call = outward_start(outward, &(struct outward_request){
                                         .method = STR("GET"),
                                         .url = json_get_str(source, "url"),
                                         .headers = lines,
                                         .header_count = n,
                                         .timeout_ms = LOOKUP_TIMEOUT_MS,
                                         .body_max = LOOKUP_VALUE_MAX,
                                         .on_data = on_data,
                                         .on_done = on_done,
                                         .arg = f,
                                     });
}

/* Why what came cannot be the value; false: it can. */
static bool fetch_failed(const struct fetch *f, struct buf *why)
{
    if (f->error && f->error->kind == ERR_TOO_LARGE)
        buf_addf(why, "the answer has more than %d bytes", LOOKUP_VALUE_MAX);
    else if (f->error && f->error->kind == ERR_TIMEOUT)
        buf_addf(why, "there was no answer within %d s", LOOKUP_TIMEOUT_MS / 1000);
    else if (f->error)
        buf_add_cstr(why, f->error->text);
    else if (f->status < 200 || f->status > 299)
        buf_addf(why, "the answer has status %d", f->status);
    else if (f->value.n == 0)
        buf_add_cstr(why, "the answer is empty");
    else if (str_find_char(buf_str(&f->value), '\0') >= 0)
        buf_add_cstr(why, "the answer is no text");
    return why->n > 0;
}

/* ---- what is known ---- */

static bool is_looked_up(struct turn *t, struct str name)
{
    bool found = false;
    WITH_LOCK(&t->mask_lock)
    for (size_t i = 0; i < t->looked_up.n && !found; i++)
        found = str_is(name, t->looked_up.at[i]);
    return found;
}

static void value_keep(struct turn *t, struct str name, struct str value)
{
    struct mask *one = mask_new(&name, &value, 1);
    WITH_LOCK(&t->c->lock)
    {
        struct mask *old = t->c->looked_up;
        t->c->looked_up = mask_join(old, one);
        mask_unref(old);
    }
    mask_unref(one);
    WITH_LOCK(&t->mask_lock)
    vec_push(&t->looked_up, str_dup(name));
}

void turn_lookup_clear(struct turn *t)
{
    for (size_t i = 0; i < t->looked_up.n; i++)
        free(t->looked_up.at[i]);
    vec_deinit(&t->looked_up);
}

struct mask *conversation_mask(struct conversation *c, const struct config *config)
{
    struct mask *fetched = NULL;
    WITH_LOCK(&c->lock)
    fetched = mask_ref(c->looked_up);
    struct mask *all = fetched ? mask_join(fetched, config->mask) : mask_ref(config->mask);
    mask_unref(fetched);
    return all;
}

struct mask *turn_mask(struct turn *t)
{
    struct state *now = committed_get(t->c);
    struct mask *mask = NULL;
    WITH_LOCK(&t->c->lock)
    mask = mask_ref(t->c->looked_up);
    WITH_LOCK(&t->mask_lock)
    {
        if (!t->masks.n || t->mask_config != now->config->mask || t->mask_looked_up != mask) {
            vec_push(&t->masks, mask ? mask_join(mask, now->config->mask) : mask_ref(now->config->mask));
            vec_push(&t->mask_parts, mask_ref(now->config->mask)); /* so that no other gets their addresses */
            vec_push(&t->mask_parts, mask_ref(mask));
            t->mask_config = now->config->mask;
            t->mask_looked_up = mask;
        }
        mask_unref(mask);
        mask = t->masks.at[t->masks.n - 1];
    }
    state_unref(now);
    return mask;
}

/* ---- the lookup ---- */

static size_t choose(struct turn *t, const struct json_value *sources, struct str text, bool all,
                     struct wanted *wanted)
{
    size_t n = 0, known = 0;
    WITH_LOCK(&t->c->lock)
    known = t->c->looked_up ? mask_count(t->c->looked_up) : 0;
    for (struct json_iter it = json_iter(sources); json_next(&it);)
        if (n < LOOKUP_AT_ONCE && known + n < LOOKED_UP_MAX && (all || str_find_nocase(text, it.key) >= 0) &&
            !is_looked_up(t, it.key))
            wanted[n++] = (struct wanted){.name = it.key};
    return n;
}

static void fetch_take(struct turn *t, const struct wanted *w, struct mail *mail, struct buf *remarks)
{
    struct fetch *f = CONTAINER_OF(mail, struct fetch, mail);
    autobuf why = {0};
    if (fetch_failed(f, &why)) {
        log_warn("conversation %s: the secret %.*s could not be fetched: %s", t->id, STR_ARG(w->name), why.p);
        buf_addf(remarks, "[The secret %.*s could not be fetched: %s. Its variable was not set.]\n",
                 STR_ARG(w->name), why.p);
    } else {
        value_keep(t, w->name, buf_str(&f->value));
    }
    mail->free(mail);
}

bool turn_lookup(void *arg, struct mailbox *mailbox, struct str text, bool seen, struct buf *remarks,
                 struct err **e)
{
    struct turn *t = arg;
    struct state *now = committed_get(t->c);
    struct config *config = config_ref(now->config);
    struct outward *outward = t->host.llm.outward;
    struct wanted wanted[LOOKUP_AT_ONCE];
    autoarena arena = arena_new();
    const struct json_value *sources = json_root(config->lookups);
    bool first = false, ok = true;
    state_unref(now);
    WITH_LOCK(&t->c->lock)
    {
        first = !t->c->lookups_begun;
        t->c->lookups_begun = true;
    }
    /* A shell from before this conversation came (back) into memory may have any of them. */
    size_t n = sources ? choose(t, sources, text, first && seen, wanted) : 0;
    for (size_t i = 0; i < n; i++)
        fetch_start(outward, mailbox, json_get_str_key(sources, wanted[i].name), arena, &wanted[i]);
    for (size_t i = 0; i < n; i++) {
        struct mail *mail = NULL;
        if (ok && mailbox_wait(mailbox, wanted[i].tag, 0, true, &mail) == MAILBOX_MAIL) {
            fetch_take(t, &wanted[i], mail, remarks);
            continue;
        }
        ok = false;
        outward_cancel(outward, wanted[i].call);
        mailbox_forget(mailbox, wanted[i].tag);
    }
    config_unref(config);
    return ok || err_set(e, ERR_CANCELLED, "interrupted");
}
