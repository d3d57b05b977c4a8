/* create: the row, the claim, the workspace and the first message of a new conversation. */
#include "agent/analyzer/analyzer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "conversation/open.h"

struct creation {
    struct conversations *s;
    struct conversation *c; /* being made; NULL when another open of the same id was under way */
    struct state *state;    /* what it begins with: a reference */
    struct buf state_text, place;
    struct store_create row;
    bool git_init;
    void (*done)(void *arg, struct conversation *c, bool created, const struct err *e);
    void *arg;
    bool created;
    int64_t number; /* when created */
    struct err *error;
    unsigned tries;
};

#define CREATE_TRIES 3 /* times that a creation joins somebody's open of an id that turns out not to exist */

static void creation_begin(struct creation *cr);

static void creation_end(struct creation *cr, struct conversation *c, const struct err *e)
{
    if (c && cr->created)
        conversation_start(c);
    cr->done(cr->arg, c, cr->created, e);
    state_unref(cr->state);
    buf_deinit(&cr->state_text);
    buf_deinit(&cr->place);
    err_free(cr->error);
    free(cr);
}

static void creation_undone(void *arg, const struct err *e)
{
    struct creation *cr = arg;
    if (e)
        log_warn("a conversation whose creation failed could not be deleted: %s", err_text(e));
    hand_end(cr->s->config.hands, &cr->state->id); /* it may have read files for the first message */
    creation_end(cr, NULL, cr->error);
}

/* The creation's own waiter: last step of both "created" and "existed". Of a creation that fails nothing is left: its first
 * message must not be sent some day when nobody expects it. */
static void creation_opened(void *arg, struct conversation *c, const struct err *e)
{
    struct creation *cr = arg;
    if (e && e->kind == ERR_NOT_FOUND && !cr->c && cr->tries < CREATE_TRIES) {
        creation_begin(cr);
    } else if (e && cr->created && e->kind != ERR_LOST) {
        cr->error = err_copy(e);
        store_delete(cr->s->config.store, cr->number, creation_undone, cr);
    } else {
        creation_end(cr, c, e);
    }
}

static void creation_claimed(void *arg, uint64_t token, const struct err *e)
{
    struct creation *cr = arg;
    if (e) {
        open_end(cr->c, e);
        return;
    }
    /* The message is durable before the answer; its run begins right behind it. */
    cr->c->token = token;
    open_go_on(cr->c, open_finish);
}

static void creation_stored(void *arg, int64_t number, const struct err *e)
{
    struct creation *cr = arg;
    struct conversation *c = cr->c;
    if (e && e->kind == ERR_CONFLICT) { /* it exists: open that one */
        state_unref(steal(c->pending));
        state_unref(steal(c->committed));
        open_go_on(c, open_claim);
        return;
    }
    if (e) {
        open_end(c, e);
        return;
    }
    cr->created = true;
    c->number = cr->number = number;
    store_claim(cr->s->config.store, number, str_from(cr->s->owner), creation_claimed, cr);
}

/* The workspace exists (or could not be made, which its first tool will say). */
static void creation_prepared(void *arg, struct str fields, const struct err *e)
{
    struct creation *cr = arg;
    if (e || wire_get_int(fields, F_STATUS, WIRE_IO) != WIRE_OK) {
        struct str why = e ? str_from(e->text) : wire_get_str(fields, F_MESSAGE);
        log_warn("a workspace could not be prepared: %.*s", STR_ARG(why));
    }
    store_create(cr->s->config.store, &cr->row, creation_stored, cr);
}

#define PREPARE_TIMEOUT_MS 10000 /* a workspace on a dead network mount must not hold the answer for ever */

static void prepare_workspace(struct creation *cr)
{
    /* One hand for all preparations: it makes a directory and an empty repository and serves nothing from them. */
    struct hand_spec hand = {.working_dir = STR("/")};
    static const struct hand_callbacks callbacks = {.on_done = creation_prepared};
    struct buf fields = {0};
    wire_add_str(&fields, F_CWD, cr->state->config->working_dir);
    wire_add_int(&fields, F_GIT_INIT, cr->git_init);
    hand_call(cr->s->config.hands, &hand, OP_PREPARE, &fields, PREPARE_TIMEOUT_MS, true, &callbacks, cr);
}

static struct state *first_state(struct conversations *s, const struct conversation_request *r,
                                 struct err **e)
{
    struct config_source source = {
        .agent = r->agent,
        .secrets = r->secrets,
        .hook_config = r->hook_config,
        .client_tools = r->client_tools,
        .working_dir = r->working_dir,
        .max_iterations = r->max_iterations,
        .stuck_detection = r->stuck_detection,
        .autotitle = r->autotitle,
        .parent = r->parent,
        .origin = r->origin,
    };
    /* It was the agent's once, and is the conversation's now. */
    const struct json_value *own = json_get(r->agent, "security_analyzer");
    const struct json_value *analyzer = json_is_null(r->security_analyzer) ? own : r->security_analyzer;
    struct analyzer *usable = json_is_null(analyzer) ? NULL : analyzer_new(analyzer, e);
    if (!json_is_null(analyzer) && !usable) {
        err_prefix(e, analyzer == own ? "agent.security_analyzer" : "security_analyzer");
        return NULL;
    }
    analyzer_free(usable);
    struct config *config = config_make(&source, s->config.secrets, s->config.env, e);
    if (!config)
        return NULL;
    struct state *state = state_new();
    state->id = r->id;
    state->status = STATUS_IDLE;
    state->config = config;
    state->stats = stats_from_sums(NULL, 0);
    state->doc = doc_new();
    state->doc->policy = r->policy;
    autobuf json = {0};
    if (!json_is_null(analyzer)) {
        json_add(&json, analyzer);
        state->doc->analyzer = bytes_take(&json);
    }
    if (!json_is_null(r->tags)) {
        json_add(&json, r->tags);
        state->doc->tags = bytes_take(&json);
    }
    if (!json_is_null(r->initial_message)) {
        json_add(&json, r->initial_message);
        state->doc->initial = bytes_take(&json);
    }
    state->created_us = state->updated_us = clock_wall_us();
    return state;
}

static void fill_row(struct creation *cr)
{
    const struct state *state = cr->state;
    doc_write(state->doc, &cr->state_text);
    path_normalize(&cr->place, state->config->working_dir);
    cr->row = (struct store_create){
        .id = state->id,
        .kind = STORE_CONVERSATION,
        .status = (int)state->status,
        .created_us = state->created_us,
        .state = buf_str(&cr->state_text),
        .config = bytes_str(state->config->stored),
        .title = STR_NONE,
        .place = buf_str(&cr->place),
    };
}

static void creation_begin(struct creation *cr)
{
    struct conversation *c = NULL, *fresh = NULL;
    struct waiter *w = open_waiter(creation_opened, cr);
    cr->tries++;
    WITH_LOCK(&cr->s->lock)
    c = open_enter(cr->s, &cr->state->id, w, &fresh);
    if (fresh) {
        cr->c = fresh;
        open_set_state(fresh, state_ref(cr->state));
        prepare_workspace(cr);
    } else if (c) {
        free(w);
        creation_opened(cr, c, NULL);
    }
}

void conversations_create(struct conversations *s, const struct conversation_request *request,
                          void (*done)(void *arg, struct conversation *c, bool created, const struct err *e),
                          void *arg)
{
    struct conversation_request r = *request;
    if (uuid_is_zero(&r.id))
        r.id = uuid_random();
    autoerr e = NULL;
    struct state *state = first_state(s, &r, &e);
    if (!state) {
        done(arg, NULL, false, e);
        return;
    }
    struct creation *cr = xcalloc(1, sizeof(*cr));
    cr->s = s;
    cr->state = state;
    cr->git_init = r.git_init;
    cr->done = done;
    cr->arg = arg;
    fill_row(cr);
    creation_begin(cr);
}
