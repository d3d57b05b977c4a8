#include "workspace/vscode.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "workspace/address.h"

#define PORT_FIRST 40000 /* the range of the documents */
#define PORT_END 50000
#define TOKEN_BYTES 16
#define SAID_MAX 512      /* of its output: what tells that it listens may come in two pieces */
#define NOT_INSTALLED 127 /* the script's exit code, as a shell's for a program that is missing */
#define IDLE_S \
    "1200" /* code-server ends by itself after this long without a client; the other one after 5 minutes */

/* Run by the hand's /bin/sh. The token comes on standard input, so that it is in no environment and no argument list.
 * $1: this hand's name, $2: port, $3: base path. Where upstream's images and packages install them is looked at besides PATH. */
static const char script[] =
    "found=\n"
    "for program in openvscode-server /openhands/.openvscode-server/bin/openvscode-server \\\n"
    "    \"$HOME/.openvscode-server/bin/openvscode-server\" /opt/openvscode-server/bin/openvscode-server \\\n"
    "    code-server \"$HOME/.local/bin/code-server\" /usr/lib/code-server/bin/code-server; do\n"
    "    found=$(command -v \"$program\") && break\n"
    "done\n"
    "[ -n \"$found\" ] || exit 127\n"
    "umask 077\n"
    "dir=/tmp/handsd-vscode-$1\n"
    /* Somebody else may have been there first: then it gets a name that nobody can guess. */
    "mkdir \"$dir\" 2>/dev/null || { [ -d \"$dir\" ] && [ ! -L \"$dir\" ] && [ -O \"$dir\" ] && chmod 700 \"$dir\"; } ||\n"
    "    dir=$(mktemp -d) || exit 1\n"
    "rm -f \"$dir/token\" \"$dir/config.yaml\"\n"
    "cat >\"$dir/token\" || exit 1\n"
    "case $program in\n"
    "*openvscode-server)\n"
    "    set -- --host 127.0.0.1 --port \"$2\" --connection-token-file \"$dir/token\" ${3:+--server-base-path \"$3\"} \\\n"
    "        --accept-server-license-terms --disable-workspace-trust --telemetry-level off --enable-remote-auto-shutdown ;;\n"
    "*)\n"
    "    printf 'bind-addr: 127.0.0.1:%s\\nauth: password\\npassword: %s\\ncert: false\\n' \\\n"
    "        \"$2\" \"$(cat \"$dir/token\")\" >\"$dir/config.yaml\" || exit 1\n"
    "    base=$3\n"
    "    set -- --config \"$dir/config.yaml\" --disable-telemetry --disable-update-check --disable-workspace-trust\n"
    "    [ -z \"$base\" ] || set -- \"$@\" --abs-proxy-base-path \"$base\"\n"
    /* Older ones do not know it, and refuse what they do not know. */
    "    case $(\"$found\" --help 2>/dev/null) in\n"
    "    *--idle-timeout-seconds*) set -- \"$@\" --idle-timeout-seconds " IDLE_S " ;;\n"
    "    esac ;;\n"
    "esac\n"
    "exec \"$found\" \"$@\" </dev/null 2>&1\n";

struct waiter {
    void (*done)(void *arg, const struct vscode *one, const struct err *e);
    void *arg;
    struct waiter *next;
};

struct server {
    struct vscodes *all;
    struct uuid hand;
    int port;
    char token[2 * TOKEN_BYTES + 1];
    bool ready;
    struct buf said;
    uint64_t timer;
    struct waiter *waiters;
};

struct vscodes {
    struct loop *loop;
    struct hands *hands;
    struct map *by_hand; /* the 16 bytes of its id → struct server */
};

struct vscodes *vscodes_new(struct loop *loop, struct hands *hands)
{
    struct vscodes *v = xcalloc(1, sizeof(*v));
    v->loop = loop;
    v->hands = hands;
    v->by_hand = map_new();
    return v;
}

static struct str id_key(const struct uuid *id)
{
    return str_make(id->b, sizeof(id->b));
}

static void server_free(struct server *s)
{
    loop_timer_cancel(s->all->loop, s->timer);
    explicit_bzero(s->token, sizeof(s->token));
    buf_deinit(&s->said);
    free(s);
}

void vscodes_free(struct vscodes *v)
{
    size_t cursor = 0;
    void *server;
    if (!v)
        return;
    while (map_next(v->by_hand, &cursor, NULL, &server))
        server_free(server);
    map_free(v->by_hand);
    free(v);
}

/* ---- its answers ---- */

static void waiters_answer(struct server *s, const struct vscode *one, const struct err *e)
{
    struct waiter *next = steal(s->waiters);
    while (next) {
        struct waiter *w = next;
        next = w->next;
        w->done(w->arg, one, e);
        free(w);
    }
}

static void answer_ready(struct server *s)
{
    struct vscode one = {.port = s->port, .token = str_from(s->token)};
    waiters_answer(s, &one, NULL);
}

/* It goes on starting: whoever asks again may be luckier. */
static void on_start_timeout(void *arg)
{
    struct server *s = arg;
    autoerr e = NULL;
    s->timer = 0;
    err_set(&e, ERR_TIMEOUT, "VS Code did not start within %d s", VSCODE_START_MS / 1000);
    waiters_answer(s, NULL, e);
}

/* Both print it when they listen; what else they print is nobody's. */
static bool says_it_listens(struct str said)
{
    return str_find_nocase(said, STR("web ui available at")) >= 0 ||
           str_find_nocase(said, STR("server listening on")) >= 0;
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct server *s = arg;
    (void)stream;
    if (s->ready)
        return;
    buf_add(&s->said, data);
    s->ready = says_it_listens(buf_str(&s->said));
    if (s->said.n > SAID_MAX)
        buf_consume(&s->said, s->said.n - SAID_MAX);
    if (!s->ready)
        return;
    buf_deinit(&s->said);
    loop_timer_cancel(s->all->loop, s->timer);
    s->timer = 0;
    answer_ready(s);
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct server *s = arg;
    struct vscodes *v = s->all;
    autoerr why = NULL;
    bool started = !e && wire_get_int(fields, F_STATUS, WIRE_IO) == WIRE_OK;
    map_remove(v->by_hand, id_key(&s->hand));
    if (e)
        why = err_copy(e);
    else if (!started)
        err_set(&why, ERR_GONE, "VS Code cannot be started");
    else if (s->ready || wire_get_int(fields, F_EXIT_CODE, -1) != NOT_INSTALLED)
        err_set(&why, ERR_GONE, "VS Code ended when it started");
    if (why && s->waiters)
        log_warn("%s", err_text(why));
    waiters_answer(s, NULL, why);
    server_free(s);
}

/* ---- the start ---- */

struct start {
    struct loop_message message;
    struct vscodes *all;
    struct hand_spec hand;
    int port;
    char *base_path;
    struct waiter *waiter;
};

static void spawn(struct server *s, const struct start *start)
{
    static const struct hand_callbacks callbacks = {.on_data = on_data, .on_done = on_done};
    struct vscodes *v = s->all;
    char name[UUID_HEX_LEN + 1], port[8];
    autobuf fields = {0}, token = {0};
    uint64_t call = hand_call_number(v->hands);
    snprintf(port, sizeof(port), "%d", s->port);
    const char *argv[] = {"/bin/sh",       "-c", script, "handsd-vscode", uuid_hex(&s->hand, name).p, port,
                          start->base_path};
    for (size_t i = 0; i < ARRAY_LEN(argv); i++)
        wire_add_str(&fields, F_ARG, str_from(argv[i]));
    wire_add_str(&fields, F_CWD, STR("/"));
    buf_add_cstr(&token, s->token);
    hand_call_numbered(v->hands, call, &start->hand, OP_SPAWN, &fields, 0, true, &callbacks, s);
    hand_send(v->hands, call, &token);
    hand_send_end(v->hands, call);
}

static struct server *server_new(struct start *start, struct err **e)
{
    struct vscodes *v = start->all;
    unsigned char random[TOKEN_BYTES];
    int port = start->port ? start->port : port_find(PORT_FIRST, PORT_END);
    if (map_count(v->by_hand) >= VSCODES_MAX) {
        err_set(e, ERR_BUSY, "%d VS Code servers run already", VSCODES_MAX);
        return NULL;
    }
    if (!port || !port_is_free(port)) {
        err_set(e, ERR_CONFLICT, "port %d for VS Code is taken", port);
        return NULL;
    }
    struct server *s = xcalloc(1, sizeof(*s));
    *s = (struct server){.all = v, .hand = start->hand.id, .port = port};
    random_bytes(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(s->token + 2 * i, 3, "%02x", random[i]);
    map_put(v->by_hand, id_key(&s->hand), s);
    s->timer = loop_timer(v->loop, VSCODE_START_MS, on_start_timeout, s);
    return s;
}

static void start_run(struct loop_message *m)
{
    struct start *start = CONTAINER_OF(m, struct start, message);
    struct waiter *w = start->waiter;
    autoerr e = NULL;
    struct server *s = map_get(start->all->by_hand, id_key(&start->hand.id));
    bool is_new = !s;
    if (is_new)
        s = server_new(start, &e);
    if (s) {
        w->next = s->waiters;
        s->waiters = w;
        if (is_new)
            spawn(s, start);
        else if (s->ready)
            answer_ready(s);
    } else {
        w->done(w->arg, NULL, e);
        free(w);
    }
    free(start->base_path);
    free(start);
}

void vscode_start(struct vscodes *v, const struct vscode_wanted *wanted,
                  void (*done)(void *arg, const struct vscode *one, const struct err *e), void *arg)
{
    struct start *start = xcalloc(1, sizeof(*start));
    start->waiter = xcalloc(1, sizeof(*start->waiter));
    *start->waiter = (struct waiter){.done = done, .arg = arg};
    start->all = v;
    start->hand = *wanted->hand;
    start->hand.working_dir = STR_NONE; /* borrowed, and not needed: F_CWD is given */
    start->port = wanted->port;
    start->base_path = str_dup(wanted->base_path);
    start->message.run = start_run;
    loop_post(v->loop, &start->message);
}

bool vscode_runs(const struct vscodes *v, const struct uuid *hand)
{
    const struct server *s = map_get(v->by_hand, id_key(hand));
    return s && s->ready;
}
