#include "fake_spawn.h"
#include "fake_wait.h"
#include "base/thread.h"
#include "base/vec.h"

struct process {
    struct hands *hands;
    struct loop *loop;
    const struct hand_callbacks *callbacks;
    void *arg;
    char *command, *cwd;
    int64_t timeout_ms;
    size_t credit[3];
    bool cancelled;
};

/* Of every test of the program; call n is at n - 1. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static VEC(struct process *) all;

static struct process *process_of(uint64_t call)
{
    struct process *p = NULL;
    WITH_LOCK(&lock)
    p = call > 0 && call <= all.n ? all.at[call - 1] : NULL;
    return p;
}

/* ---- what the test sees ---- */

uint64_t fake_spawn_find(struct hands *h, const char *command)
{
    uint64_t found = 0;
    WITH_LOCK(&lock)
    for (size_t i = 0; i < all.n; i++)
        if (all.at[i] && all.at[i]->hands == h && strstr(all.at[i]->command, command))
            found = i + 1;
    return found;
}

unsigned fake_spawn_count(struct hands *h)
{
    unsigned n = 0;
    WITH_LOCK(&lock)
    for (size_t i = 0; i < all.n; i++)
        n += all.at[i] && all.at[i]->hands == h;
    return n;
}

const char *fake_spawn_cwd(struct hands *h, uint64_t call)
{
    (void)h;
    return process_of(call)->cwd;
}

int64_t fake_spawn_timeout_ms(struct hands *h, uint64_t call)
{
    (void)h;
    return process_of(call)->timeout_ms;
}

size_t fake_spawn_credit(struct hands *h, uint64_t call, enum wire_stream stream)
{
    struct process *p = process_of(call);
    size_t n = 0;
    (void)h;
    WITH_LOCK(&lock)
    n = p->credit[stream];
    return n;
}

bool fake_spawn_cancelled(struct hands *h, uint64_t call)
{
    struct process *p = process_of(call);
    bool cancelled = false;
    (void)h;
    WITH_LOCK(&lock)
    cancelled = p->cancelled;
    return cancelled;
}

/* ---- what happens ---- */

struct news {
    struct process *process;
    enum wire_stream stream;
    struct buf text;
    enum err_kind kind;
};

static void news_data(void *arg)
{
    struct news *n = arg;
    n->process->callbacks->on_data(n->process->arg, n->stream, buf_str(&n->text));
    buf_deinit(&n->text);
    free(n);
    fake_changed();
}

static void news_end(void *arg)
{
    struct news *n = arg;
    n->process->callbacks->on_done(n->process->arg, buf_str(&n->text), NULL);
    buf_deinit(&n->text);
    free(n);
    fake_changed();
}

static void news_error(void *arg)
{
    struct news *n = arg;
    autoerr e = NULL;
    err_set(&e, n->kind, "as the test wants it");
    n->process->callbacks->on_done(n->process->arg, STR_NONE, e);
    free(n);
    fake_changed();
}

static struct news *news(uint64_t call)
{
    struct news *n = xcalloc(1, sizeof(*n));
    n->process = process_of(call);
    return n;
}

void fake_spawn_say(struct hands *h, uint64_t call, enum wire_stream stream, struct str text)
{
    (void)h;
    while (text.n > 0) {
        struct news *n = news(call);
        size_t piece = text.n < WIRE_PAYLOAD_MAX ? text.n : WIRE_PAYLOAD_MAX;
        n->stream = stream;
        buf_add(&n->text, str_sub(text, 0, piece));
        text = str_sub(text, piece, text.n);
        WITH_LOCK(&lock)
        n->process->credit[stream] -= piece;
        loop_call(n->process->loop, news_data, n);
    }
}

void fake_spawn_end(struct hands *h, uint64_t call, enum wire_status status, int64_t exit_code,
                    const char *message)
{
    struct news *n = news(call);
    (void)h;
    wire_add_int(&n->text, F_STATUS, status);
    wire_add_int(&n->text, F_EXIT_CODE, exit_code);
    if (message)
        wire_add_str(&n->text, F_MESSAGE, str_from(message));
    loop_call(n->process->loop, news_end, n);
}

void fake_spawn_die(struct hands *h, uint64_t call)
{
    struct news *n = news(call);
    (void)h;
    n->kind = ERR_GONE;
    loop_call(n->process->loop, news_error, n);
}

/* ---- what the hands pass on ---- */

uint64_t fake_spawn_begin(struct hands *h, struct loop *loop, struct str fields,
                          const struct hand_callbacks *callbacks, void *arg)
{
    struct process *p = xcalloc(1, sizeof(*p));
    uint64_t call = 0;
    *p = (struct process){
        .hands = h,
        .loop = loop,
        .callbacks = callbacks,
        .arg = arg,
        .command = str_dup(wire_get_str(fields, F_COMMAND)),
        .cwd = str_dup(wire_get_str(fields, F_CWD)),
        .timeout_ms = wire_get_int(fields, F_TIMEOUT_MS, 0),
        .credit = {0, WIRE_CREDIT_INITIAL, WIRE_CREDIT_INITIAL},
    };
    WITH_LOCK(&lock)
    {
        vec_push(&all, p);
        call = all.n;
    }
    fake_changed();
    return call;
}

void fake_spawn_give(struct hands *h, uint64_t call, enum wire_stream stream, uint32_t bytes)
{
    struct process *p = process_of(call);
    (void)h;
    WITH_LOCK(&lock)
    if (p)
        p->credit[stream] += bytes;
    fake_changed();
}

void fake_spawn_cancel(struct hands *h, uint64_t call)
{
    struct process *p = process_of(call);
    bool first = false;
    (void)h;
    WITH_LOCK(&lock)
    if (p) {
        first = !p->cancelled;
        p->cancelled = true;
    }
    if (!first)
        return;
    struct news *n = news(call);
    n->kind = ERR_CANCELLED;
    loop_call(p->loop, news_error, n);
}

void fake_spawn_forget(struct hands *h)
{
    size_t left = 0;
    WITH_LOCK(&lock)
    {
        for (size_t i = 0; i < all.n; i++) {
            struct process *p = all.at[i];
            if (p && p->hands == h) {
                free(p->command);
                free(p->cwd);
                free(p);
                all.at[i] = NULL;
            }
            left += all.at[i] != NULL;
        }
        if (left == 0)
            vec_deinit(&all);
    }
}
