/* command: from its start to its last output. */
#include "bash/internal.h"
#include "base/path.h"

#define CREDIT_BATCH (64 * 1024) /* credit goes back in pieces of about this size */
#define MESSAGE_MAX 2048         /* of a reason that a hand gives */

/* ---- life ---- */

bool command_is_live(const struct bash *b, const struct uuid *id)
{
    for (const struct command *c = b->commands; c; c = c->next)
        if (uuid_eq(&c->id, id))
            return true;
    return false;
}

static void command_link(struct bash *b, struct command *c)
{
    c->next = b->commands;
    c->link = &b->commands;
    if (c->next)
        c->next->link = &c->next;
    b->commands = c;
    b->command_count++;
}

static void command_free(struct command *c)
{
    if (c->link) {
        *c->link = c->next;
        if (c->next)
            c->next->link = c->link;
        c->bash->command_count--;
    }
    text_deinit(&c->out[0]);
    text_deinit(&c->out[1]);
    free(c->text);
    free(c->cwd);
    free(c);
}

static void tell_started(struct command *c, struct bytes *json, const struct err *e)
{
    const struct bash_callbacks *callbacks = c->callbacks;
    if (e)
        c->callbacks = NULL;
    if (callbacks && callbacks->started)
        callbacks->started(c->arg, json, e);
}

static void tell_ended(struct command *c, struct bytes *json, const struct err *e)
{
    const struct bash_callbacks *callbacks = steal(c->callbacks);
    if (callbacks && callbacks->ended)
        callbacks->ended(c->arg, json, e);
}

/* ---- output ---- */

static size_t text_waiting(const struct command *c)
{
    return c->out[0].escaped.n + c->out[1].escaped.n;
}

static void command_add(struct command *c, struct entry *entry)
{
    entry->command = c;
    c->queued += entry->json->n;
    queue_add(c->bash, entry);
}

/* An output of what the stream has that has more. */
static void flush_larger(struct command *c)
{
    bool second = c->out[1].escaped.n > c->out[0].escaped.n;
    struct text *t = &c->out[second];
    struct str text = buf_str(&t->escaped);
    struct entry *entry =
        event_output(c->bash, &c->id, c->order++, NULL, second ? STR_NONE : text, second ? text : STR_NONE);
    buf_deinit(&t->escaped); /* most commands have no second megabyte */
    command_add(c, entry);
}

static void text_add(struct command *c, struct text *t, struct str escaped)
{
    while (text_waiting(c) > 0 && text_waiting(c) + escaped.n > TEXT_MAX)
        flush_larger(c);
    buf_add(&t->escaped, escaped);
}

/* Gives credit for what was taken, as long as the disk keeps up. */
static void command_credit(struct command *c)
{
    struct bash *b = c->bash;
    for (size_t i = 0; i < 2; i++) {
        if (c->call == HAND_CALL_NONE || c->owed[i] < CREDIT_BATCH || c->queued > COMMAND_QUEUED_MAX ||
            b->queued > QUEUED_MAX)
            continue;
        hand_credit(b->config.hands, c->call, i == 0 ? WIRE_STDOUT : WIRE_STDERR, c->owed[i]);
        c->owed[i] = 0;
    }
}

void commands_credit(struct bash *b)
{
    for (struct command *c = b->commands; c; c = c->next)
        command_credit(c);
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct command *c = arg;
    size_t i = stream == WIRE_STDERR;
    autobuf piece = {0};
    c->owed[i] += (uint32_t)data.n;
    if (c->total < BASH_OUTPUT_MAX) {
        c->total += data.n;
        text_piece(&c->out[i], data, &piece);
        text_add(c, &c->out[i], buf_str(&piece));
    } else {
        c->dropped += data.n;
    }
    command_credit(c);
}

/* ---- the end ---- */

/* A line of our own at the end of stderr. */
static void add_line(struct command *c, struct str line)
{
    struct text *t = &c->out[1];
    autobuf piece = {0};
    if (t->escaped.n > 0 && !str_ends(buf_str(&t->escaped), STR("\\n")))
        buf_add(&piece, STR("\\n"));
    json_escape(&piece, line, false);
    text_add(c, t, buf_str(&piece));
}

static void add_dropped(struct command *c)
{
    if (c->dropped == 0)
        return;
    autobuf line = {0};
    buf_addf(&line, "[%llu more bytes of output were not kept: at most %d are]",
             (unsigned long long)c->dropped, BASH_OUTPUT_MAX);
    add_line(c, buf_str(&line));
}

static void command_end(struct command *c, int exit_code, struct str reason)
{
    c->call = HAND_CALL_NONE;
    for (size_t i = 0; i < 2; i++) {
        autobuf piece = {0};
        text_end(&c->out[i], &piece);
        text_add(c, &c->out[i], buf_str(&piece));
    }
    add_dropped(c);
    if (reason.n > 0)
        add_line(c, str_sub(reason, 0, MESSAGE_MAX));
    struct entry *entry = event_output(c->bash, &c->id, c->order++, &exit_code, buf_str(&c->out[0].escaped),
                                       buf_str(&c->out[1].escaped));
    buf_deinit(&c->out[0].escaped);
    buf_deinit(&c->out[1].escaped);
    command_add(c, entry);
}

static void end_with(struct command *c, const char *what, const char *why)
{
    autobuf reason = {0};
    buf_addf(&reason, "%s%s%s", what, why && *why ? ": " : "", why ? why : "");
    command_end(c, -1, buf_str(&reason));
}

#define STOPPED "The command was stopped."
#define SERVER_STOPPED "The server was stopped before the command ended."
#define NOT_STARTED "The command could not be started"

static void end_by_result(struct command *c, struct str fields)
{
    autofree char *message = str_dup(wire_get_str(fields, F_MESSAGE));
    autobuf text = {0};
    int64_t code = wire_get_int(fields, F_EXIT_CODE, -1);
    switch (wire_get_int(fields, F_STATUS, WIRE_IO)) {
    case WIRE_OK: command_end(c, code >= INT16_MIN && code <= INT16_MAX ? (int)code : -1, STR_NONE); break;
    case WIRE_TIMEOUT: /* `timed out` is a marker: the Python client looks for it */
        buf_addf(&text, "The command timed out after %lld s and was ended.", (long long)c->timeout_s);
        command_end(c, -1, buf_str(&text));
        break;
    case WIRE_CANCELLED: end_with(c, c->stopped ? STOPPED : SERVER_STOPPED, NULL); break;
    default: end_with(c, NOT_STARTED, message); break;
    }
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct command *c = arg;
    if (!e)
        end_by_result(c, fields);
    else if (e->kind == ERR_CANCELLED)
        end_with(c, c->stopped ? STOPPED : SERVER_STOPPED, NULL);
    else
        end_with(c, e->kind == ERR_GONE ? "What ran the command has died" : NOT_STARTED, err_text(e));
}

static const struct hand_callbacks callbacks = {.on_data = on_data, .on_done = on_done};

/* ---- running ---- */

struct place { /* the answer to hand_for, on its way to the loop */
    struct command *command;
    struct hand_spec hand;
    struct err *error;
};

static void command_cwd(const struct command *c, struct buf *out)
{
    autobuf joined = {0};
    path_join(&joined, c->bash->config.working_dir, str_from(c->cwd ? c->cwd : "."));
    path_normalize(out, buf_str(&joined));
}

static void spawn(struct command *c, const struct hand_spec *hand)
{
    autobuf fields = {0}, cwd = {0};
    command_cwd(c, &cwd);
    wire_add_str(&fields, F_COMMAND, str_from(c->text));
    wire_add_str(&fields, F_CWD, buf_str(&cwd));
    wire_add_int(&fields, F_INPUT, 0);
    wire_add_int(&fields, F_TIMEOUT_MS, c->timeout_s * 1000);
    c->call = hand_call(c->bash->config.hands, hand, OP_SPAWN, &fields, 0, false, &callbacks, c);
}

static void placed_back(void *arg)
{
    struct place *p = arg;
    struct command *c = p->command;
    if (c->bash->closing || c->stopped)
        end_with(c, c->stopped ? STOPPED : SERVER_STOPPED, NULL);
    else if (p->error)
        end_with(c, NOT_STARTED, err_text(p->error));
    else
        spawn(c, &p->hand);
    err_free(p->error);
    free(p);
}

/* Any thread. */
static void placed(void *arg, const struct hand_spec *hand, const struct err *e)
{
    struct command *c = arg;
    struct place *p = xcalloc(1, sizeof(*p));
    p->command = c;
    if (hand)
        p->hand = *hand;
    p->hand.working_dir = STR_NONE; /* not ours; the call says where */
    p->error = e ? err_copy(e) : NULL;
    loop_call(c->bash->config.loop, placed_back, p);
}

static void command_run(struct command *c)
{
    autobuf cwd = {0};
    command_cwd(c, &cwd);
    c->bash->config.hand_for(c->bash->config.hand_context, buf_str(&cwd), placed, c);
}

void command_cancel(struct command *c)
{
    if (c->call != HAND_CALL_NONE)
        hand_cancel(c->bash->config.hands, c->call);
}

struct stop { /* a request of any thread, on its way to the loop */
    struct bash *b;
    struct uuid id;
    void (*done)(void *arg, bool found);
    void *arg;
};

static void stop_on_loop(void *arg)
{
    autofree struct stop *s = arg;
    struct command *c = s->b->commands;
    while (c && !uuid_eq(&c->id, &s->id))
        c = c->next;
    if (c) {
        c->stopped = true;
        command_cancel(c);
    }
    s->done(s->arg, c != NULL);
}

void bash_stop(struct bash *b, const struct uuid *id, void (*done)(void *arg, bool found), void *arg)
{
    struct stop *s = xmalloc(sizeof(*s));
    *s = (struct stop){.b = b, .id = *id, .done = done, .arg = arg};
    loop_call(b->config.loop, stop_on_loop, s);
}

/* ---- what the store says ---- */

void command_stored(struct entry *entry)
{
    struct command *c = entry->command;
    c->queued -= entry->json->n;
    if (entry->kind == BASH_COMMAND) {
        c->logged = true;
        tell_started(c, entry->json, NULL);
        command_run(c);
    } else if (entry->final) {
        tell_ended(c, entry->json, NULL);
        command_free(c);
    }
}

bool command_refused(struct entry *entry, const struct err *e)
{
    struct command *c = entry->command;
    bool closing = c->bash->closing;
    if (entry->kind == BASH_COMMAND) {
        tell_started(c, NULL, e);
        command_free(c);
        return false;
    }
    if (entry->final)
        tell_ended(c, NULL, e);
    if (!closing)
        return true;
    c->queued -= entry->json->n;
    if (entry->final)
        command_free(c);
    return false;
}

/* ---- starting ---- */

static void start_fail(struct command *c, enum err_kind kind, const char *text)
{
    autoerr e = NULL;
    err_set(&e, kind, "%s", text);
    tell_started(c, NULL, e);
    command_free(c);
}

static void start_opened(void *arg, const struct err *e)
{
    struct command *c = arg;
    struct bash *b = c->bash;
    if (e) {
        tell_started(c, NULL, e);
        command_free(c);
    } else if (b->closing) {
        start_fail(c, ERR_BUSY, "the server is ending");
    } else if (b->command_count >= BASH_COMMANDS_MAX) {
        start_fail(c, ERR_TOO_MANY, "too many commands are running: wait until one has ended");
    } else {
        command_link(b, c);
        command_add(c, event_command(b, c));
    }
}

void bash_start(struct bash *b, const struct bash_request *request, const struct bash_callbacks *callbacks_,
                void *arg)
{
    struct command *c = xcalloc(1, sizeof(*c));
    *c = (struct command){
        .bash = b,
        .id = uuid_random(),
        .text = str_dup(request->command),
        .cwd = request->cwd.p ? str_dup(request->cwd) : NULL,
        .timeout_s = request->timeout_s,
        .callbacks = callbacks_,
        .arg = arg,
    };
    uuid_hex(&c->id, c->hex);
    bash_open(b, start_opened, c);
}
