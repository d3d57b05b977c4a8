/* place: which hand serves a path or a conversation. */
#include "base/path.h"
#include "conversation/internal.h"

#define ANCESTORS_MAX 256 /* of a path; what is deeper is looked for from its 256th directory */

struct lookup {
    struct conversations *s;
    struct buf path; /* normal */
    bool named;      /* the conversation was asked for by its id */
    void (*done)(void *arg, const struct hand_spec *hand, const struct err *e);
    void *arg;
    struct conversation *found; /* a reference */
    struct err *error;
};

/* Its name is one that no conversation can have. */
struct hand_spec conversations_own_hand(void)
{
    return (struct hand_spec){.id = {{0xff}}, .working_dir = STR("/")};
}

static void lookup_end(struct lookup *l)
{
    struct hand_spec hand = conversations_own_hand();
    struct state *state = NULL;
    if (l->found) {
        state = committed_get(l->found);
        hand = (struct hand_spec){.id = l->found->id, .working_dir = state->config->working_dir};
        WITH_LOCK(&l->found->lock)
        hand.owner_token = l->found->token;
    }
    l->done(l->arg, l->error ? NULL : &hand, l->error);
    state_unref(state);
    conversation_unref(l->found);
    err_free(l->error);
    buf_deinit(&l->path);
    free(l);
}

static void lookup_finish(void *arg)
{
    lookup_end(arg);
}

static void lookup_opened(void *arg, struct conversation *c, const struct err *e)
{
    struct lookup *l = arg;
    l->found = c;
    if (e && (l->named || e->kind != ERR_NOT_FOUND)) /* deleted meanwhile: its workspace is nobody's now */
        l->error = err_copy(e);
    pool_submit_always(l->s->config.pool, lookup_finish, l);
}

static size_t ancestors_of(struct str path, struct str *out)
{
    size_t n = 0;
    for (struct str at = path; n < ANCESTORS_MAX; at = path_dir(at)) {
        out[n++] = at;
        if (at.n <= 1)
            break;
    }
    return n;
}

static void lookup_run(void *arg)
{
    struct lookup *l = arg;
    struct str places[ANCESTORS_MAX];
    struct uuid id;
    size_t n = path_is_absolute(buf_str(&l->path)) ? ancestors_of(buf_str(&l->path), places) : 0;
    if (n > 0 && store_find_place(l->s->config.store, places, n, &id, &l->error)) {
        conversations_open(l->s, &id, lookup_opened, l);
        return;
    }
    if (l->error && l->error->kind == ERR_NOT_FOUND)
        err_free(steal(l->error));
    lookup_end(l);
}

void conversations_hand_for(struct conversations *s, struct str path,
                            void (*done)(void *arg, const struct hand_spec *hand, const struct err *e),
                            void *arg)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    l->s = s;
    l->done = done;
    l->arg = arg;
    path_normalize(&l->path, path);
    pool_submit_always(s->config.pool, lookup_run, l);
}

void conversations_hand_of(struct conversations *s, const struct uuid *id,
                           void (*done)(void *arg, const struct hand_spec *hand, const struct err *e),
                           void *arg)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    l->s = s;
    l->named = true;
    l->done = done;
    l->arg = arg;
    conversations_open(s, id, lookup_opened, l);
}

struct hands *conversations_hands(struct conversations *s)
{
    return s->config.hands;
}
