#include "hand/terminal/terminal.h"
#include "base/cleanup.h"
#include "hand/operations.h"
#include <fcntl.h>
#include <signal.h>

#define TERMINALS_DEFAULT_NAME STR("terminal")
#define NAME_MAX_BYTES 256
#define TERMINALS_MAX 256                   /* of one hand; each is four processes */
#define INPUT_WAITING_MAX (4 * 1024 * 1024) /* bytes typed that the program has not read */
#define INPUT_MAX (1024 * 1024)             /* bytes typed by one call */
#define END_GRACE_MS 300                    /* between SIGHUP and SIGKILL */

/* A cancelled call's command: Ctrl-C at once, after each step a pause, and a result within a second. First SIGINT to the
 * foreground group; then, several times because a shell may be in a loop, SIGKILL to it and
 * SIGINT to the shell; at last the end of the shell. */
#define CANCEL_STEP_MS 170
#define CANCEL_STEPS 5

/* --- results ------------------------------------------------------------------------------------ */

static void timers_clear(struct terminal *t)
{
    uint64_t *const timers[] = {&t->soft_timer, &t->hard_timer, &t->cancel_timer};
    for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
        hand_timer_cancel(t->hand, *timers[i]);
        *timers[i] = 0;
    }
}

static void next_start(void *arg);

static void call_detach(struct call *c)
{
    struct terminal *t = c->state;
    if (t->call == c) {
        t->call = NULL;
        timers_clear(t);
        if (t->next) /* not in the middle of this one's end */
            t->next_timer = hand_timer(t->hand, 0, next_start, t);
    }
}

static void add_facts(const struct terminal *t, struct buf *out)
{
    wire_add_str(out, F_CWD, buf_str(&t->cwd));
    wire_add_str(out, F_USER, buf_str(&t->user));
    wire_add_str(out, F_HOST, buf_str(&t->host));
    wire_add_str(out, F_PYTHON, buf_str(&t->python));
    wire_add_int(out, F_PID, t->pid);
}

static void add_output(struct terminal *t, struct output *o, struct buf *out)
{
    /* A shell that was interrupted ends its line first, now and then behind the end of the call: that is no output. */
    struct str before = buf_str(&t->before);
    while (before.n && before.p[0] == '\n')
        before = str_sub(before, 1, before.n);
    if (before.n)
        buf_insert(&o->head, 0, before);
    buf_deinit(&t->before);
    struct buf *last = o->elided ? &o->tail : &o->head;
    buf_truncate(last, str_trim_right(buf_str(last)).n);
    wire_add_str(out, F_TEXT, buf_str(&o->head));
    if (o->elided) {
        wire_add_str(out, F_TAIL, buf_str(&o->tail));
        wire_add_int(out, F_ELIDED, (int64_t)o->elided);
        if (o->whole)
            wire_add_int(out, F_SIZE, (int64_t)o->whole_n);
    }
}

/* Ends the waiting call. */
static void finish(struct terminal *t, enum wire_terminal kind)
{
    struct call *c = t->call;
    struct output now = {0};
    autobuf fields = {0};
    bool ended = kind == TERMINAL_COMPLETED || kind == TERMINAL_SHELL_ENDED || kind == TERMINAL_RESET;
    if (ended) {
        now = t->done;
        t->done = (struct output){0};
        t->unseen = UNSEEN_NOTHING;
    } else if (t->screen) {
        terminal_take(t, &now);
    }
    bool any = now.head.n > 0;
    wire_add_int(&fields, F_KIND, kind);
    add_output(t, &now, &fields);
    wire_add_int(&fields, F_EXIT_CODE, ended ? t->exit_code : -1);
    add_facts(t, &fields);
    if (t->started)
        wire_add_int(&fields, F_FRESH, 1);
    if (t->continued)
        wire_add_int(&fields, F_CONTINUED, 1);
    t->shown = t->shown || any;
    enum wire_status status = t->cancelled ? WIRE_CANCELLED : WIRE_OK;
    output_deinit(&t->told);
    t->told = now;
    buf_deinit(&t->told.head);
    buf_deinit(&t->told.tail);
    call_done(c, status, &fields);
}

void terminal_completed(struct terminal *t)
{
    if (t->call)
        finish(t, t->reset ? TERMINAL_RESET : TERMINAL_COMPLETED);
}

static void begin(struct terminal *t, struct call *c);

void terminal_shell_ended(struct terminal *t)
{
    if (t->call && t->restart && t->cancelled)
        call_fail(t->call, WIRE_CANCELLED, "cancelled before the command was run");
    else if (t->call && t->restart)
        begin(t, t->call);
    else if (t->call)
        finish(t, TERMINAL_SHELL_ENDED);
}

void terminal_failed(struct terminal *t, const char *why)
{
    if (t->call)
        call_fail(t->call, WIRE_IO, "%s", why);
    terminal_end(t, 0);
}

/* --- waiting ------------------------------------------------------------------------------------ */

static void on_soft_timeout(void *arg)
{
    struct terminal *t = arg;
    t->soft_timer = 0;
    terminal_read(t);
    if (!t->call)
        return;
    uint64_t quiet = hand_now_ms() - t->output_ms;
    if (quiet < t->soft_ms)
        t->soft_timer = hand_timer(t->hand, t->soft_ms - quiet, on_soft_timeout, t);
    else
        finish(t, TERMINAL_SOFT_TIMEOUT);
}

static void on_hard_timeout(void *arg)
{
    struct terminal *t = arg;
    t->hard_timer = 0;
    terminal_read(t);
    if (t->call)
        finish(t, TERMINAL_HARD_TIMEOUT);
}

static void cancel_step(void *arg)
{
    struct terminal *t = arg;
    bool runs = t->state == TERM_RUNNING || t->state == TERM_STARTING;
    t->cancel_timer = 0;
    if (runs)
        terminal_read(t);
    if (!t->call)
        return;
    if (++t->cancel_stage < CANCEL_STEPS && !runs) {
        /* a shell on its way out: terminal_ended or terminal_shell_ended comes soon */
    } else if (!runs) {
        call_fail(t->call, WIRE_CANCELLED, "cancelled while the shell was being ended");
    } else if (t->cancel_stage == 1) {
        shell_flush_input(&t->shell); /* of a Ctrl-C that was no more than a byte to the program */
        shell_signal(&t->shell, SIGINT);
    } else if (t->cancel_stage < CANCEL_STEPS) {
        if (!shell_in_foreground(&t->shell))
            shell_signal(&t->shell, SIGKILL);
        kill(t->shell.pid, SIGINT);
    } else {
        terminal_take(t, &t->done);
        finish(t, TERMINAL_SHELL_ENDED);
        terminal_end(t, 0);
    }
    if (t->call)
        t->cancel_timer = hand_timer(t->hand, CANCEL_STEP_MS, cancel_step, t);
}

static void terminal_cancel(struct call *c)
{
    struct terminal *t = c->state;
    if (t->cancelled)
        return;
    t->cancelled = true;
    if (t->state == TERM_RUNNING || t->state == TERM_STARTING)
        terminal_type_interrupt(t);
    t->cancel_timer = hand_timer(t->hand, CANCEL_STEP_MS, cancel_step, t);
}

/* The call now waits for what runs, or for a shell's end. */
static void await(struct terminal *t, struct call *c)
{
    struct str fields = buf_str(&c->fields);
    hand_timer_cancel(t->hand, t->soft_timer);
    hand_timer_cancel(t->hand, t->hard_timer);
    t->soft_timer = t->hard_timer = 0;
    int64_t hard = wire_get_int(fields, F_TIMEOUT_MS, -1);
    int64_t soft = wire_get_int(fields, F_SOFT_TIMEOUT_MS, -1);
    if (hard < 0) {
        if (soft >= 0) {
            t->soft_ms = (uint64_t)soft;
            t->soft_timer = hand_timer(t->hand, t->soft_ms, on_soft_timeout, t);
        }
        hard = wire_get_int(fields, F_CALL_MAX_MS, -1); /* what never falls silent ends, too */
    }
    t->output_ms = hand_now_ms();
    if (hard >= 0)
        t->hard_timer = hand_timer(t->hand, (uint64_t)hard, on_hard_timeout, t);
}

/* --- what a call asks for ----------------------------------------------------------------------- */

static struct str command_of(const struct call *c)
{
    struct str s = wire_get_str(buf_str(&c->fields), F_COMMAND);
    return s.p ? s : STR("");
}

static unsigned dimension(struct str fields, enum wire_field tag, unsigned otherwise)
{
    int64_t n = wire_get_int(fields, tag, otherwise);
    return n > 0 && n < 10000 ? (unsigned)n : otherwise;
}

/* Runs the call's command in the shell, which is started first if there is none. */
static void begin(struct terminal *t, struct call *c)
{
    autoerr e = NULL;
    struct str fields = buf_str(&c->fields);
    struct str command = command_of(c);
    if (t->state == TERM_NONE) {
        if (!terminal_open(t, wire_get_str(fields, F_CWD), dimension(fields, F_COLUMNS, SCREEN_COLS),
                           dimension(fields, F_ROWS, SCREEN_ROWS), &e)) {
            call_fail(c, WIRE_IO, "%s", err_text(e));
            return;
        }
        t->started = true;
    }
    if (!terminal_run(t, command, fields, &e)) {
        call_fail(c, WIRE_IO, "%s", err_text(e));
        return;
    }
    await(t, c);
}

static void send_input(struct terminal *t, struct call *c)
{
    autobuf typed = {0};
    struct str text = command_of(c);
    if (!shell_key(str_trim(text), vt_application_keys(t->vt), &typed)) {
        if (shell_line_too_long(&t->shell, text)) {
            call_fail(
                c, WIRE_TOO_LARGE,
                "a line of the input is longer than the 4095 bytes that the terminal takes; write it to a file");
            return;
        }
        for (size_t i = 0; i < text.n; i++)
            buf_add_char(&typed, text.p[i] == '\n' ? '\r' : text.p[i]);
        buf_add_char(&typed, '\r');
    }
    if (t->input.n - t->input_at + typed.n > INPUT_WAITING_MAX) {
        call_fail(c, WIRE_BUSY, "the program has not read %zu bytes of earlier input",
                  t->input.n - t->input_at);
        return;
    }
    await(t, c);
    if (typed.n == 1 && typed.p[0] == 3)
        terminal_type_interrupt(t);
    else
        terminal_type(t, buf_str(&typed));
}

/* Something runs, or has ended since the last call. */
static void go_on(struct terminal *t, struct call *c, bool input)
{
    t->continued = t->shown;
    if (t->unseen == UNSEEN_COMPLETED)
        finish(t, TERMINAL_COMPLETED);
    else if (t->unseen == UNSEEN_SHELL_ENDED)
        finish(t, TERMINAL_SHELL_ENDED);
    else if (t->state == TERM_LEAVING)
        await(t, c);
    else if (str_trim(command_of(c)).n == 0)
        await(t, c);
    else if (input)
        send_input(t, c);
    else
        finish(t, TERMINAL_OCCUPIED);
}

static void dispatch(struct terminal *t, struct call *c)
{
    struct str fields = buf_str(&c->fields);
    bool input = wire_get_int(fields, F_INPUT, 0) != 0;
    bool empty = str_trim(command_of(c)).n == 0;
    /* The shell was killed while idle, or is about to be seen as ended: this command gets the next one. */
    bool leaving =
        t->state == TERM_LEAVING ? t->idle_exit : t->state == TERM_IDLE && shell_is_gone(&t->shell);
    if (t->state == TERM_IDLE && !t->fresh && !leaving && !shell_in_foreground(&t->shell))
        t->state = TERM_RUNNING; /* something that we did not start has the terminal */
    bool busy = t->state != TERM_NONE && t->state != TERM_IDLE && !leaving;
    if (wire_get_int(fields, F_RESET, 0)) {
        t->reset = empty;
        if (t->state == TERM_NONE) {
            begin(t, c);
        } else {
            await(t, c);
            terminal_end(t, END_GRACE_MS); /* terminal_ended goes on */
        }
    } else if (t->state == TERM_ENDING) {
        await(t, c); /* a shell that was killed by a cancel: terminal_ended goes on */
    } else if (busy || (t->unseen != UNSEEN_NOTHING && (empty || input))) {
        go_on(t, c, input);
    } else if (empty || input) {
        finish(t, TERMINAL_NOTHING_RUNNING);
    } else if (leaving) {
        await(t, c);
        t->restart = true; /* terminal_shell_ended goes on */
    } else {
        t->continued = t->unseen != UNSEEN_NOTHING && t->done.head.n > 0;
        begin(t, c);
    }
}

static bool check(struct call *c)
{
    struct str fields = buf_str(&c->fields), command = command_of(c), item;
    struct wire_fields f = {fields};
    enum wire_field tag;
    bool input = wire_get_int(fields, F_INPUT, 0) != 0;
    if (wire_get_str(fields, F_NAME).n > NAME_MAX_BYTES)
        call_fail(c, WIRE_INVALID, "the terminal's name is longer than %d bytes", NAME_MAX_BYTES);
    else if (input && wire_get_int(fields, F_RESET, 0))
        call_fail(c, WIRE_INVALID, "a reset cannot be combined with input to a running program");
    else if (str_find_char(command, '\0') >= 0)
        call_fail(c, WIRE_INVALID, "the command contains a NUL character");
    else if (input && command.n > INPUT_MAX)
        call_fail(c, WIRE_TOO_LARGE, "the input is longer than %d bytes", INPUT_MAX);
    else {
        while (wire_fields_next(&f, &tag, &item, NULL))
            if (tag == F_ENV && !shell_env_valid(item)) {
                call_fail(c, WIRE_INVALID,
                          "a variable to export has no valid name or contains a NUL character");
                return false;
            }
        return true;
    }
    return false;
}

static struct str name_of(const struct call *c)
{
    struct str name = wire_get_str(buf_str(&c->fields), F_NAME);
    return name.n ? name : TERMINALS_DEFAULT_NAME;
}

static void call_attach(struct terminal *t, struct call *c)
{
    if (t->state != TERM_NONE)
        terminal_read(t); /* what happened since the last call */
    t->call = c;
    t->started = t->continued = t->reset = t->cancelled = t->restart = false;
    t->cancel_stage = 0;
    c->state = t;
    c->on_cancel = terminal_cancel;
    c->on_free = call_detach;
    dispatch(t, c);
}

/* --- a call that waits for the end of a cancelled one ------------------------------------------- */

static void next_start(void *arg)
{
    struct terminal *t = arg;
    struct call *c = t->next;
    t->next = NULL;
    t->next_timer = 0;
    call_attach(t, c);
}

static void next_cancel(struct call *c)
{
    call_fail(c, WIRE_CANCELLED, "cancelled before the command was run");
}

static void next_detach(struct call *c)
{
    struct terminal *t = c->state;
    hand_timer_cancel(t->hand, t->next_timer);
    t->next_timer = 0;
    t->next = NULL;
}

static void next_wait(struct terminal *t, struct call *c)
{
    t->next = c;
    c->state = t;
    c->on_cancel = next_cancel;
    c->on_free = next_detach;
}

/* --- the operation ------------------------------------------------------------------------------ */

void terminal_start(struct call *c)
{
    if (!check(c))
        return;
    struct terminal *t = hand_named(c->hand, HAND_TERMINAL, name_of(c));
    if (!t && terminal_count() >= TERMINALS_MAX) {
        call_fail(c, WIRE_BUSY, "there are %d terminals already", TERMINALS_MAX);
        return;
    }
    if (!t) {
        t = terminal_new(c->hand, name_of(c));
        hand_name(c->hand, HAND_TERMINAL, name_of(c), t, terminal_free);
    }
    if (t->closer || t->next || (t->call && !t->cancelled))
        call_fail(c, WIRE_BUSY, "another call waits for this terminal");
    else if (t->call)
        next_wait(t, c);
    else
        call_attach(t, c);
}

void terminal_ended(struct terminal *t)
{
    struct call *closer = t->closer;
    if (closer) {
        struct hand *h = t->hand;
        autofree char *name = str_dup(str_from(t->name));
        if (t->call)
            call_fail(t->call, WIRE_CANCELLED, "the terminal was closed");
        t->closer = NULL;
        hand_unname(h, HAND_TERMINAL, str_from(name)); /* frees it */
        call_done(closer, WIRE_OK, NULL);
    } else if (t->call && t->cancelled) {
        call_fail(t->call, WIRE_CANCELLED, "cancelled while the shell was being ended");
    } else if (t->call) {
        dispatch(t, t->call);
    }
}

void terminal_close_start(struct call *c)
{
    struct terminal *t = hand_named(c->hand, HAND_TERMINAL, name_of(c));
    if (!t) {
        call_fail(c, WIRE_NOT_FOUND, "there is no such terminal");
        return;
    }
    if (t->closer) {
        call_fail(c, WIRE_BUSY, "the terminal is being closed already");
        return;
    }
    if (t->state == TERM_NONE) {
        hand_unname(c->hand, HAND_TERMINAL, name_of(c));
        call_done(c, WIRE_OK, NULL);
        return;
    }
    t->closer = c;
    c->state = t;
    terminal_end(t, END_GRACE_MS);
}

void terminal_output_start(struct call *c)
{
    struct terminal *t = hand_named(c->hand, HAND_TERMINAL, name_of(c));
    int fd = t && t->told.whole ? fcntl(t->told.whole, F_DUPFD_CLOEXEC, 3) : -1;
    if (fd < 0)
        call_fail(c, WIRE_NOT_FOUND, "there is no longer output than the last call told");
    else
        file_send(c, fd);
}

void terminal_interrupt_start(struct call *c)
{
    struct terminal *t = hand_named(c->hand, HAND_TERMINAL, name_of(c));
    if (!t) {
        call_fail(c, WIRE_NOT_FOUND, "there is no such terminal");
        return;
    }
    if (t->state == TERM_RUNNING || t->state == TERM_STARTING)
        terminal_type_interrupt(t);
    call_done(c, WIRE_OK, NULL);
}
