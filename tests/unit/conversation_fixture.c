#include "conversation_fixture.h"
#include "base/fd.h"
#include "base/vec.h"
#include <dirent.h>
#include <unistd.h>

#define WORLDS_MAX 64

static pthread_mutex_t worlds_lock = PTHREAD_MUTEX_INITIALIZER;
static struct world *worlds[WORLDS_MAX];

/* ---- the model's gate: the linker puts this in front of llm_complete ---- */

bool __real_llm_complete(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                         struct mailbox *mailbox, struct arena *arena, struct llm_answer *answer,
                         struct err **e);
bool __wrap_llm_complete(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                         struct mailbox *mailbox, struct arena *arena, struct llm_answer *answer,
                         struct err **e);

bool __wrap_llm_complete(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                         struct mailbox *mailbox, struct arena *arena, struct llm_answer *answer,
                         struct err **e)
{
    struct world *w = NULL;
    WITH_LOCK(&worlds_lock)
    for (size_t i = 0; i < WORLDS_MAX; i++)
        if (worlds[i] && worlds[i]->dir == context->scripts_dir.p)
            w = worlds[i];
    atomic_fetch_add(&w->asked, 1);
    fake_changed();
    if (!fake_gate_pass(w->models, mailbox))
        return err_set(e, ERR_CANCELLED, "cancelled");
    return __real_llm_complete(l, context, request, mailbox, arena, answer, e);
}

/* ---- a world ---- */

static void loop_main(void *arg)
{
    loop_run(arg);
}

static void world_enter(struct world *w, struct world *instead_of)
{
    bool entered = false;
    WITH_LOCK(&worlds_lock)
    for (size_t i = 0; i < WORLDS_MAX && !entered; i++)
        if (worlds[i] == instead_of) {
            worlds[i] = w;
            entered = true;
        }
    assert_true(entered);
}

struct world *world_new(const struct world_options *options)
{
    static const struct world_options none;
    if (!options)
        options = &none;
    autoerr e = NULL;
    struct world *w = xcalloc(1, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "/tmp/conversation-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    world_enter(w, NULL);
    w->loop = loop_new(&e);
    w->pool = pool_new(2, 1000);
    w->store = options->store ? options->store : store_open(NULL, &e);
    struct secrets_config secrets = {.configured =
                                         str_from(options->secret_key ? options->secret_key : "a key")};
    w->secrets = secrets_new(&secrets, &e);
    w->hands = hands_new(w->loop, NULL, &e);
    w->server = fake_server_new(w->loop);
    w->models = fake_gate_new();
    struct conversations_config config = {
        .loop = w->loop,
        .pool = w->pool,
        .server = w->server,
        .store = w->store,
        .secrets = w->secrets,
        .hands = w->hands,
        .llm = {.scripts_dir = {w->dir, strlen(w->dir)}},
        .conversations_path = STR("/data/conversations"),
        .idle_ms = options->idle_ms,
    };
    w->s = conversations_new(&config);
    assert_true(thread_start(&w->loop_thread, "loop", THREAD_STACK_BYTES, loop_main, w->loop, &e));
    return w;
}

static void on_closed(void *arg)
{
    struct world *w = arg;
    atomic_store(&w->closed, true);
    fake_changed();
}

static void close_on_loop(void *arg)
{
    struct world *w = arg;
    conversations_close(w->s, on_closed, w);
}

void world_close_service(struct world *w)
{
    loop_call(w->loop, close_on_loop, w);
}

static void remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (d->d_name[0] != '.')
            unlinkat(dirfd(dir), d->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(path);
}

void world_free(struct world *w, bool keep)
{
    if (!atomic_load(&w->s->closing))
        world_close_service(w);
    AWAIT(atomic_load(&w->closed));
    assert_int_equal(atomic_load(&w->s->runs), 0);
    for (uint64_t i = 1; fake_socket_hang_up_if(w->server, i); i++)
        ;
    bool slow = fake_store_stalled(w->store); /* it goes on when all but the store has ended */
    if (!slow)
        fake_store_drain(w->store);
    loop_stop(w->loop);
    pthread_join(w->loop_thread, NULL);
    pool_free(w->pool);
    if (slow)
        fake_store_release(w->store);
    fake_store_drain(w->store);
    if (keep)
        fake_store_disown(w->store);
    else
        store_close(w->store);
    loop_free(w->loop);
    conversations_free(w->s);
    hands_free(w->hands);
    secrets_free(w->secrets);
    fake_server_free(w->server);
    fake_gate_free(w->models);
    world_enter(NULL, w);
    remove_dir(w->dir);
    free(w);
}

/* ---- holding the loop ---- */

struct hold {
    struct world *world;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool holds, let, close;
};

static void hold_loop(void *arg)
{
    struct hold *h = arg;
    struct world *w = h->world;
    WITH_LOCK(&h->lock)
    {
        h->holds = true;
        fake_changed();
        while (!h->let)
            thread_cond_wait(&h->wake, &h->lock, 0);
    }
    if (h->close)
        close_on_loop(w);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->wake);
    free(h);
}

static bool is_held(struct hold *h)
{
    bool held = false;
    WITH_LOCK(&h->lock)
    held = h->holds;
    return held;
}

void world_hold_loop(struct world *w)
{
    struct hold *h = xcalloc(1, sizeof(*h));
    h->world = w;
    pthread_mutex_init(&h->lock, NULL);
    thread_cond_init(&h->wake);
    w->held = h;
    loop_call(w->loop, hold_loop, h);
    AWAIT(is_held(h));
}

void world_close_when_let(struct world *w)
{
    struct hold *h = w->held;
    WITH_LOCK(&h->lock)
    h->close = true;
}

void world_let_loop(struct world *w)
{
    struct hold *h = w->held;
    w->held = NULL;
    WITH_LOCK(&h->lock)
    {
        h->let = true;
        pthread_cond_signal(&h->wake);
    }
}

void world_script(struct world *w, const char *name, const char *lines)
{
    char path[128];
    autoerr e = NULL;
    snprintf(path, sizeof(path), "%s/%s.jsonl", w->dir, name);
    assert_true(file_write_atomic(path, str_from(lines), 0600, &e));
}

/* ---- requests ---- */

void answer_init(struct answer *a, struct world *w)
{
    memset(a, 0, sizeof(*a));
    a->world = w;
}

void answer_deinit(struct answer *a)
{
    err_free(a->error);
    conversation_unref(a->c);
    memset(a, 0, sizeof(*a));
}

static void came(struct answer *a, const struct err *e)
{
    a->error = e ? err_copy(e) : NULL;
    a->at_ns = clock_mono_ns();
    atomic_store(&a->came, true);
    fake_changed();
}

void answer_done(void *arg, const struct err *e)
{
    came(arg, e);
}

void answer_opened(void *arg, struct conversation *c, const struct err *e)
{
    struct answer *a = arg;
    a->c = c;
    came(a, e);
}

static void answer_created(void *arg, struct conversation *c, bool created, const struct err *e)
{
    struct answer *a = arg;
    a->c = c;
    a->created = created;
    came(a, e);
}

static void message_json(const char *text, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_member_cstr(&w, "role", "user");
    jw_key(&w, "content");
    jw_array(&w);
    event_text_content(&w, str_from(text));
    jw_array_end(&w);
    jw_object_end(&w);
}

void ask_send(struct conversation *c, struct answer *a, const char *text, bool run)
{
    autobuf json = {0};
    message_json(text, &json);
    autojson doc = json_parse(buf_str(&json), NULL, NULL);
    conversation_send(c, json_root(doc), run, answer_done, a);
}

void ask_run(struct conversation *c, struct answer *a)
{
    conversation_run(c, answer_done, a);
}

void ask_pause(struct conversation *c, struct answer *a)
{
    conversation_pause(c, answer_done, a);
}

void ask_interrupt(struct conversation *c, struct answer *a)
{
    conversation_interrupt(c, answer_done, a);
}

void ask_delete(struct world *w, const struct uuid *id, struct answer *a)
{
    conversations_delete(w->s, id, answer_done, a);
}

static int answer_end(struct answer *a)
{
    AWAIT(atomic_load(&a->came));
    int kind = a->error ? (int)a->error->kind : -1;
    answer_deinit(a);
    return kind;
}

int do_send(struct world *w, struct conversation *c, const char *text, bool run)
{
    struct answer a;
    answer_init(&a, w);
    ask_send(c, &a, text, run);
    return answer_end(&a);
}

int do_run(struct world *w, struct conversation *c)
{
    struct answer a;
    answer_init(&a, w);
    ask_run(c, &a);
    return answer_end(&a);
}

int do_pause(struct world *w, struct conversation *c)
{
    struct answer a;
    answer_init(&a, w);
    ask_pause(c, &a);
    return answer_end(&a);
}

int do_interrupt(struct world *w, struct conversation *c)
{
    struct answer a;
    answer_init(&a, w);
    ask_interrupt(c, &a);
    return answer_end(&a);
}

int do_delete(struct world *w, const struct uuid *id)
{
    struct answer a;
    answer_init(&a, w);
    ask_delete(w, id, &a);
    return answer_end(&a);
}

void world_create_start(struct world *w, const char *script, const struct uuid *id, const char *message,
                        struct answer *a)
{
    autobuf agent = {0}, json = {0};
    buf_addf(&agent,
             "{\"kind\":\"Agent\",\"llm\":{\"model\":\"scripted/%s\",\"usage_id\":\"agent\",\"stream\":true,"
             "\"api_key\":\"sk-of-the-model\"},\"tools\":[{\"name\":\"terminal\",\"params\":{}},"
             "{\"name\":\"file_editor\",\"params\":{}}]}",
             script);
    autojson agent_doc = json_parse(buf_str(&agent), NULL, NULL);
    if (message)
        message_json(message, &json);
    autojson message_doc = message ? json_parse(buf_str(&json), NULL, NULL) : NULL;
    struct conversation_request request = {
        .agent = json_root(agent_doc),
        .working_dir = STR("/work"),
        .initial_message = json_root(message_doc),
        .max_iterations = 500,
        .stuck_detection = true,
        .autotitle = true,
    };
    if (id)
        request.id = *id;
    conversations_create(w->s, &request, answer_created, a);
}

struct conversation *world_create(struct world *w, const char *script, const char *message)
{
    struct answer a;
    answer_init(&a, w);
    world_create_start(w, script, NULL, message, &a);
    AWAIT(atomic_load(&a.came));
    if (!a.c || a.error)
        fail_msg("not created: %s", err_text(a.error));
    return a.c;
}

struct conversation *world_open(struct world *w, const struct uuid *id)
{
    struct answer a;
    answer_init(&a, w);
    conversations_open(w->s, id, answer_opened, &a);
    AWAIT(atomic_load(&a.came));
    struct conversation *c = steal(a.c);
    answer_deinit(&a);
    return c;
}

/* ---- state ---- */

bool is_at_rest(struct conversation *c)
{
    bool rests = false;
    WITH_LOCK(&c->lock)
    rests = !c->run && c->outstanding == 0 && !c->mending;
    return rests;
}

bool has_status(struct conversation *c, enum status status)
{
    return conversation_status(c) == status;
}

/* ---- stacks: painted before a run thread begins, looked at when it has ended ---- */

bool __real_thread_start(pthread_t *out, const char *name, size_t stack_bytes, void (*run)(void *), void *arg,
                         struct err **e);
bool __wrap_thread_start(pthread_t *out, const char *name, size_t stack_bytes, void (*run)(void *), void *arg,
                         struct err **e);
atomic_size_t run_stack_most;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
bool __wrap_thread_start(pthread_t *out, const char *name, size_t stack_bytes, void (*run)(void *), void *arg,
                         struct err **e)
{
    return __real_thread_start(out, name, stack_bytes, run, arg, e);
}
#else
#define PAINT 0x5a
#define PAINT_SPARE 512 /* bytes of the painter's own frame */

struct painted {
    void (*run)(void *);
    void *arg;
};

static char *stack_bottom(void)
{
    pthread_attr_t attr;
    void *at = NULL;
    size_t n = 0, guard = 0;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &at, &n);
    pthread_attr_getguardsize(&attr, &guard);
    pthread_attr_destroy(&attr);
    (void)guard; /* glibc's answer begins above it */
    return at;
}

static void __attribute__((noinline)) paint(char *bottom)
{
    uintptr_t end = (uintptr_t)__builtin_frame_address(0) - PAINT_SPARE;
    for (volatile char *p = bottom; (uintptr_t)p < end; p++)
        *p = PAINT;
}

static void painted_main(void *arg)
{
    struct painted p = *(struct painted *)arg;
    free(arg);
    char *bottom = stack_bottom();
    paint(bottom);
    p.run(p.arg);
    const char *used = bottom;
    while (*used == PAINT)
        used++;
    size_t depth = (uintptr_t)__builtin_frame_address(0) - (uintptr_t)used,
           most = atomic_load(&run_stack_most);
    while (depth > most && !atomic_compare_exchange_weak(&run_stack_most, &most, depth))
        ;
    fake_changed();
}

bool __wrap_thread_start(pthread_t *out, const char *name, size_t stack_bytes, void (*run)(void *), void *arg,
                         struct err **e)
{
    if (strcmp(name, "run") != 0)
        return __real_thread_start(out, name, stack_bytes, run, arg, e);
    struct painted *p = xcalloc(1, sizeof(*p));
    *p = (struct painted){run, arg};
    if (__real_thread_start(out, name, stack_bytes, painted_main, p, e))
        return true;
    free(p);
    return false;
}
#endif
