#include "hand/terminal/terminal.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "hand/env.h"
#include "hand/process.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define READ_CHUNK 4096        /* more than a terminal gives at once */
#define READ_TURN_MS 5         /* of one terminal in one turn of the loop */
#define BEFORE_MAX (64 * 1024) /* output from between two commands: the end of it */
#define START_MS 10000         /* from exec to the first start mark */
#define LOST_MS 200            /* from an end mark to the start mark that should have come before it */
#define LOST_RETRIES 2         /* how often the trigger is typed again */
#define REPAIRS_MAX 2          /* of the prompt, for one command */
#define REPAIR_MS 3000         /* for one of them */
#define LEAVE_MS 300           /* from the shell's end to its last output, which has a mark behind it */
#define GONE_GRACE_MS 300      /* for what a shell that ended by itself leaves behind */

static unsigned count;

unsigned terminal_count(void)
{
    return count;
}

bool terminals_busy(const struct hand *h)
{
    size_t cursor = 0;
    void *value;
    while (h->named[HAND_TERMINAL] && map_next(h->named[HAND_TERMINAL], &cursor, NULL, &value)) {
        const struct terminal *t = ((struct named *)value)->value;
        if (t->state == TERM_STARTING || t->state == TERM_RUNNING)
            return true;
    }
    return false;
}

struct terminal *terminal_new(struct hand *h, struct str name)
{
    struct account account;
    struct utsname system;
    struct terminal *t = xcalloc(1, sizeof(*t));
    t->hand = h;
    t->name = str_dup(name);
    t->shell = SHELL_CLOSED;
    t->pid = -1;
    account_find(&account, getuid());
    buf_add(&t->user, buf_str(&account.name));
    account_deinit(&account);
    if (uname(&system) == 0)
        buf_add_cstr(&t->host, system.nodename);
    count++;
    return t;
}

static void timers_clear(struct terminal *t)
{
    uint64_t *const timers[] = {&t->start_timer, &t->lost_timer, &t->repair_timer, &t->leave_timer};
    for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
        hand_timer_cancel(t->hand, *timers[i]);
        *timers[i] = 0;
    }
}

/* Lets go of the shell, not of its keeper. */
static void shell_drop(struct terminal *t)
{
    timers_clear(t);
    hand_unwatch(t->hand, t->watch);
    t->watch = 0;
    shell_close(&t->shell);
    vt_free(steal(t->vt));
    screen_free(steal(t->screen));
    buf_deinit(&t->input);
    t->input_at = 0;
    t->state = TERM_NONE;
}

void terminal_free(void *arg)
{
    struct terminal *t = arg;
    if (t->next)
        call_fail(t->next, WIRE_CANCELLED, "the terminal was closed");
    shell_drop(t);
    output_deinit(&t->done);
    output_deinit(&t->told);
    buf_deinit(&t->before);
    buf_deinit(&t->cwd);
    buf_deinit(&t->path);
    buf_deinit(&t->python);
    buf_deinit(&t->user);
    buf_deinit(&t->host);
    count--;
    free(t->name);
    free(t);
}

/* --- output ------------------------------------------------------------------------------------- */

void terminal_take(struct terminal *t, struct output *out)
{
    if (t->repairs) /* a trigger stands in the midst of the output */
        shell_clean_before(&t->shell, screen_text(t->screen));
    else
        shell_clean_after(&t->shell, screen_text(t->screen));
    screen_text_changed(t->screen);
    screen_take(t->screen, out);
}

/* Puts what was printed between two commands in front of the next one's output. */
static void keep_before(struct terminal *t, struct output *o)
{
    buf_add(&t->before, buf_str(&o->head));
    buf_add(&t->before, buf_str(&o->tail));
    output_deinit(o);
    if (t->before.n > BEFORE_MAX) {
        size_t from = t->before.n - BEFORE_MAX;
        while (from < t->before.n && ((unsigned char)t->before.p[from] & 0xc0) == 0x80)
            from++;
        buf_consume(&t->before, from);
    }
}

static void on_start_mark(struct terminal *t)
{
    struct output o = {0};
    if (t->state != TERM_STARTING)
        return;
    hand_timer_cancel(t->hand, t->lost_timer);
    hand_timer_cancel(t->hand, t->start_timer);
    t->lost_timer = t->start_timer = 0;
    t->state = TERM_RUNNING;
    if (t->fresh) {
        t->fresh = false;
        screen_drop(t->screen);
        return;
    }
    shell_clean_before(&t->shell, screen_text(t->screen));
    screen_text_changed(t->screen);
    screen_take(t->screen, &o);
    keep_before(t, &o);
    screen_alternate(t->screen, false);
}

static void learn(struct terminal *t, const struct shell_end *end)
{
    t->exit_code = end->exit_code;
    t->pid = end->pid;
    if (end->cwd.n) {
        buf_clear(&t->cwd);
        utf8_scrub(&t->cwd, end->cwd);
    }
    if (!str_eq(buf_str(&t->path), end->path) || t->python.n == 0 || access(t->python.p, X_OK) < 0) {
        buf_clear(&t->path);
        buf_add(&t->path, end->path);
        shell_find_python(end->path, &t->python);
    }
}

static void complete(struct terminal *t)
{
    output_deinit(&t->done);
    terminal_take(t, &t->done);
    screen_alternate(t->screen, false);
    shell_forget(&t->shell);
    hand_timer_cancel(t->hand, t->repair_timer);
    t->repair_timer = 0;
    t->input_at = 0;
    buf_clear(&t->input);
    t->state = TERM_IDLE;
    t->unseen = UNSEEN_COMPLETED; /* terminal_read tells it when it has read on */
}

static void leave(void *arg);

/* Nobody will learn any more what this shell does: the next command gets another one. */
static void give_up(struct terminal *t)
{
    t->idle_exit = false;
    t->exit_code = -1;
    leave(t);
}

/* A prompt came, but no start mark behind it. It was the prompt of something else, and the mark is still to come; or the
 * shell read the trigger behind left-over bytes and did not know it, and it is typed again; or it cannot read its script. */
static void on_lost(void *arg)
{
    struct terminal *t = arg;
    t->lost_timer = 0;
    terminal_read(t);
    if (t->state != TERM_STARTING)
        return;
    if (t->retries == LOST_RETRIES)
        return give_up(t);
    t->lost_timer = hand_timer(t->hand, LOST_MS, on_lost, t);
    if (shell_waits_for_line(&t->shell)) {
        t->retries++;
        screen_drop(t->screen); /* its complaint */
        shell_settle(&t->shell);
        terminal_type(t, shell_trigger(&t->shell));
    }
}

static void on_end_mark(struct terminal *t, struct str body)
{
    struct shell_end end;
    if (!shell_end_parse(&t->shell, body, &end))
        return;
    if (t->state == TERM_RUNNING) {
        learn(t, &end);
        complete(t);
    } else if (t->state == TERM_STARTING && !t->lost_timer) {
        /* The prompt of an earlier line; or the shell could not read its script, and no start mark will come. */
        t->exit_code = end.exit_code;
        t->lost_timer = hand_timer(t->hand, LOST_MS, on_lost, t);
    }
}

static void on_repair_timeout(void *arg)
{
    struct terminal *t = arg;
    t->repair_timer = 0;
    terminal_read(t);
    if (t->state == TERM_RUNNING && !t->repair_timer)
        give_up(t);
}

/* The shell is at its prompt and has told nothing: a command that left our script early had changed the prompt before, or
 * closed the shell's own descriptor of the terminal. Only its own sign makes us type this: a program that merely waits
 * would take it for input. */
static void repair(void *arg)
{
    struct terminal *t = arg;
    t->repair_timer = 0;
    if (t->state != TERM_RUNNING)
        return;
    if (t->repairs++ == REPAIRS_MAX || !shell_load_repair(&t->shell, NULL))
        return give_up(t);
    buf_clear(&t->input);
    t->input_at = 0;
    shell_settle(&t->shell);
    t->repair_timer = hand_timer(t->hand, REPAIR_MS, on_repair_timeout, t);
    terminal_type(t, shell_trigger(&t->shell));
}

static void on_prompt_mark(struct terminal *t)
{
    if (!shell_in_foreground(&t->shell))
        return; /* a shell that inherited PS1 */
    if (t->state == TERM_RUNNING) {
        hand_timer_cancel(t->hand, t->repair_timer);
        t->repair_timer = hand_timer(t->hand, 0, repair, t);
    } else if (t->state == TERM_STARTING && !t->lost_timer) {
        t->lost_timer = hand_timer(t->hand, LOST_MS, on_lost, t);
    }
}

static void on_mark(void *arg, char kind, struct str body)
{
    struct terminal *t = arg;
    if (kind == MARK_START) {
        on_start_mark(t);
    } else if (kind == MARK_END) {
        on_end_mark(t, body);
    } else if (kind == MARK_PROMPT) {
        on_prompt_mark(t);
    } else if (kind == MARK_SYNC && t->state == TERM_LEAVING) {
        hand_timer_cancel(t->hand, t->leave_timer);
        t->leave_timer = hand_timer(t->hand, 0, leave, t);
    }
}

void terminal_read(struct terminal *t)
{
    char chunk[READ_CHUNK];
    bool was_complete = t->unseen != UNSEEN_NOTHING;
    uint64_t until = hand_now_ms() + READ_TURN_MS;
    while (t->shell.master >= 0) {
        ssize_t n = read(t->shell.master, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        vt_feed(t->vt, str_make(chunk, (size_t)n));
        t->output_ms = hand_now_ms();
        if (t->output_ms >= until)
            break; /* what is left comes in the next turn */
    }
    if (!was_complete && t->unseen == UNSEEN_COMPLETED)
        terminal_completed(t);
}

/* --- input -------------------------------------------------------------------------------------- */

static void input_write(struct terminal *t)
{
    while (t->input_at < t->input.n) {
        ssize_t n = write(t->shell.master, t->input.p + t->input_at, t->input.n - t->input_at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        t->input_at += (size_t)n;
    }
    bool waiting = t->input_at < t->input.n;
    if (!waiting) {
        buf_clear(&t->input);
        t->input_at = 0;
    }
    hand_watch_events(t->hand, t->watch, waiting ? POLLIN | POLLOUT : POLLIN);
}

void terminal_type(struct terminal *t, struct str bytes)
{
    buf_consume(&t->input, t->input_at);
    t->input_at = 0;
    buf_add(&t->input, bytes);
    input_write(t);
}

void terminal_type_interrupt(struct terminal *t)
{
    buf_clear(&t->input);
    t->input_at = 0;
    shell_before_interrupt(&t->shell);
    terminal_type(t, STR("\x03"));
}

static void on_terminal(void *arg, short revents)
{
    struct terminal *t = arg;
    if (revents & POLLOUT)
        input_write(t);
    /* Last: it may end the call and, with it, anything. */
    if (revents & (POLLIN | POLLHUP | POLLERR))
        terminal_read(t);
}

/* --- the shell's life ----------------------------------------------------------------------------- */

static void leave(void *arg)
{
    struct terminal *t = arg;
    struct keeper *keeper = t->shell.keeper;
    t->leave_timer = 0;
    vt_flush(t->vt);
    if (t->unseen == UNSEEN_NOTHING) {
        output_deinit(&t->done);
        terminal_take(t, &t->done);
    }
    shell_drop(t);
    keeper_end(keeper, GONE_GRACE_MS, NULL, NULL);
    if (!t->idle_exit)
        t->unseen = UNSEEN_SHELL_ENDED;
    terminal_shell_ended(t);
}

static void on_shell_exit(void *arg, int exit_code)
{
    struct terminal *t = arg;
    if (t->state == TERM_ENDING)
        return;
    terminal_read(t);
    t->idle_exit = t->state == TERM_IDLE;
    if (!t->idle_exit)
        t->exit_code = exit_code;
    t->state = TERM_LEAVING;
    t->leave_timer = hand_timer(t->hand, LEAVE_MS, leave, t);
    shell_write_sync(&t->shell);
}

static void on_start_timeout(void *arg)
{
    struct terminal *t = arg;
    t->start_timer = 0;
    terminal_failed(t, "the shell did not start in time");
}

/* The directory itself, or the nearest one above it that is there. */
static bool nearest_directory(struct str wanted, struct buf *out)
{
    struct stat st;
    if (!path_is_absolute(wanted) || str_find_char(wanted, '\0') >= 0)
        return false;
    path_normalize(out, wanted);
    while (stat(out->p, &st) < 0 || !S_ISDIR(st.st_mode) || access(out->p, X_OK) < 0) {
        size_t above = path_dir(buf_str(out)).n;
        if (above >= out->n)
            return false;
        buf_truncate(out, above);
    }
    return true;
}

bool terminal_open(struct terminal *t, struct str cwd, unsigned columns, unsigned rows, struct err **e)
{
    autobuf directory = {0};
    struct shell_spec spec = {
        .cwd = nearest_directory(cwd, &directory) ? directory.p : NULL,
        .columns = columns,
        .rows = rows,
        .on_exit = on_shell_exit,
        .arg = t,
    };
    if (!shell_start(&t->shell, t->hand, &spec, e))
        return false;
    t->screen = screen_new();
    t->vt = vt_new(t->screen, t->shell.nonce, on_mark, t);
    t->watch = hand_watch(t->hand, t->shell.master, POLLIN, on_terminal, t);
    t->start_timer = hand_timer(t->hand, START_MS, on_start_timeout, t);
    t->state = TERM_IDLE;
    t->fresh = true;
    t->exit_code = 0;
    t->pid = -1;
    buf_clear(&t->before);
    buf_clear(&t->cwd);
    buf_add(&t->cwd, buf_str(&directory));
    return true;
}

bool terminal_run(struct terminal *t, struct str command, struct str fields, struct err **e)
{
    struct shell_command c = {.text = command, .fields = fields, .status = t->exit_code, .first = t->fresh};
    if (!shell_load(&t->shell, &c, e))
        return false;
    if (!t->fresh)
        shell_settle(&t->shell);
    /* What an earlier command printed after it was last looked at. */
    keep_before(t, &t->done);
    t->shown = false;
    t->unseen = UNSEEN_NOTHING;
    t->exit_code = -1;
    t->state = TERM_STARTING;
    t->retries = t->repairs = 0;
    terminal_type(t, shell_trigger(&t->shell));
    return true;
}

static void on_tree_ended(void *arg)
{
    struct terminal *t = arg;
    shell_drop(t);
    terminal_ended(t);
}

void terminal_end(struct terminal *t, unsigned grace_ms)
{
    if (t->state == TERM_ENDING || t->state == TERM_NONE)
        return;
    timers_clear(t);
    t->state = TERM_ENDING;
    t->unseen = UNSEEN_NOTHING;
    output_deinit(&t->done);
    keeper_end(t->shell.keeper, grace_ms, on_tree_ended, t);
}
