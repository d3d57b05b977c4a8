/* Watching a run: events come in and are shown, time goes by, signals and lines of the user are heeded. One loop waits
 * for all of them. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/answer.h"
#include "cli/notices.h"
#include "cli/run.h"
#include "cli/show.h"
#include "json/writer.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <termios.h>

#define EXIT_FAILED 1
#define TICK_NS (120 * NS_PER_MS) /* between two drawings of the status */
#define PAST_EVENTS 100           /* looked at for actions that wait, when a conversation is resumed */

enum mode {
    MODE_RUNNING,
    MODE_PAUSING,  /* the step in flight may end */
    MODE_STOPPING, /* it may not */
    MODE_ASKING,   /* shall the agent do it? */
    MODE_WHY,      /* why not? */
    MODE_PAUSED,   /* what now? */
};

struct watch {
    struct client *client;
    struct client_socket *socket;
    struct show *show;
    const struct run_options *options;
    struct str id, task; /* task: to be sent yet */
    struct buf status;   /* as the conversation has it */
    struct buf typed;    /* at the prompt, so far */
    int signals, timer, wake;
    enum mode mode;
    bool interactive;  /* somebody sits there whom we can ask */
    bool over, broken; /* broken: output cannot be written */
    int exit;
};

static bool call(struct watch *w, const char *route, struct str body, struct err **e)
{
    autobuf path = {0}, answer = {0};
    buf_addf(&path, "/api/conversations/%.*s/%s", STR_ARG(w->id), route);
    return client_call(w->client, "POST", path.p, body, &answer, e);
}

/* ---- ending ---- */

/* What else the command that goes on has to say. */
static void end(struct watch *w, int status)
{
    autobuf more = {0};
    if (w->over)
        return;
    w->over = true;
    w->exit = w->broken ? EXIT_FAILED : status;
    if (w->options->data)
        buf_addf(&more, " --data %s", w->options->data);
    show_end(w->show, buf_str(&w->status), w->id, more.n > 0 ? more.p : "");
}

/* ---- prompts ---- */

static void set_ticking(struct watch *w, bool on)
{
    struct timespec every = {.tv_nsec = on && console_is_live(show_console(w->show)) ? TICK_NS : 0};
    timerfd_settime(w->timer, 0, &(struct itimerspec){every, every}, NULL);
}

static void print_prompt(struct watch *w)
{
    console_prompt(show_console(w->show), w->mode == MODE_ASKING ? "[y]es [n]o [a]lways, or why not: "
                                          : w->mode == MODE_WHY  ? "Why not? (Enter: no reason) "
                                                                 : "> ");
    console_flush(show_console(w->show));
}

/* What was typed before a question is no answer to it. */
static void prompt(struct watch *w, enum mode mode)
{
    w->mode = mode;
    set_ticking(w, false);
    show_set_wish(w->show, NULL);
    if (mode == MODE_ASKING)
        show_question(w->show);
    if (mode == MODE_PAUSED)
        show_note(w->show, STYLE_BOLD, "Paused. Type what it should do, Enter to go on, or q to leave.");
    tcflush(STDIN_FILENO, TCIFLUSH);
    buf_clear(&w->typed);
    epoll_ctl(w->wake, EPOLL_CTL_ADD, STDIN_FILENO,
              &(struct epoll_event){.events = EPOLLIN, .data.fd = STDIN_FILENO});
    print_prompt(w);
}

static bool is_prompting(const struct watch *w)
{
    return w->mode == MODE_ASKING || w->mode == MODE_WHY || w->mode == MODE_PAUSED;
}

static void prompt_end(struct watch *w, bool entered)
{
    console_answered(show_console(w->show), entered);
    epoll_ctl(w->wake, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

static void go_on(struct watch *w)
{
    w->mode = MODE_RUNNING;
    set_ticking(w, true);
    show_tick(w->show);
}

/* ---- what is sent ---- */

static bool send_message(struct watch *w, struct str text, struct err **e)
{
    autobuf body = {0};
    struct json_writer j = json_writer(&body);
    jw_object(&j);
    jw_key(&j, "content");
    jw_array(&j);
    jw_object(&j);
    jw_member_cstr(&j, "type", "text");
    jw_member_str(&j, "text", text);
    jw_object_end(&j);
    jw_array_end(&j);
    jw_member_bool(&j, "run", true);
    jw_object_end(&j);
    return call(w, "events", buf_str(&body), e);
}

/* The task, if there is one; otherwise the conversation just runs. */
static bool send_task(struct watch *w, struct err **e)
{
    struct str task = w->task;
    w->task = STR_NONE;
    if (task.n > 0)
        return send_message(w, task, e);
    autoerr why = NULL;
    if (call(w, "run", STR_NONE, &why) || why->kind == ERR_CONFLICT) /* it runs: fine, we watch */
        return true;
    return err_set(e, why->kind, "%s", err_text(why));
}

static bool accept_actions(struct watch *w, struct err **e)
{
    if (!call(w, "events/respond_to_confirmation", STR("{\"accept\":true}"), e))
        return false;
    return w->task.n == 0 || send_task(w, e);
}

static bool accept_always(struct watch *w, struct err **e)
{
    if (!call(w, "confirmation_policy", STR("{\"policy\":{\"kind\":\"NeverConfirm\"}}"), e))
        return false;
    show_note(w->show, STYLE_DIM, "From now on nothing is asked.");
    return accept_actions(w, e);
}

static bool reject_actions(struct watch *w, struct str reason, struct err **e)
{
    autobuf body = {0};
    struct json_writer j = json_writer(&body);
    jw_object(&j);
    jw_member_bool(&j, "accept", false);
    if (reason.n > 0)
        jw_member_str(&j, "reason", reason);
    jw_object_end(&j);
    /* A rejection alone leaves the agent idle: it has to be told to go on with it. */
    return call(w, "events/respond_to_confirmation", buf_str(&body), e) && send_task(w, e);
}

/* ---- the user's word ---- */

static bool is_word(struct str line, const char *letter, const char *word)
{
    return str_eq_nocase(line, str_from(letter)) || str_eq_nocase(line, str_from(word));
}

static bool take_answer(struct watch *w, struct str line, struct err **e)
{
    bool reason = w->mode == MODE_WHY;
    if (!reason && line.n == 0) { /* a bare Enter says neither */
        print_prompt(w);
        return true;
    }
    if (!reason && is_word(line, "n", "no")) {
        w->mode = MODE_WHY;
        print_prompt(w);
        return true;
    }
    prompt_end(w, true);
    go_on(w);
    if (!reason && is_word(line, "y", "yes"))
        return accept_actions(w, e);
    if (!reason && is_word(line, "a", "always"))
        return accept_always(w, e);
    return reject_actions(w, line, e);
}

static bool take_wish(struct watch *w, struct str line, struct err **e)
{
    prompt_end(w, true);
    if (is_word(line, "q", "quit")) {
        end(w, EXIT_INTERRUPTED);
        return true;
    }
    go_on(w);
    w->task = line;
    return send_task(w, e);
}

/* Words, or the end of the input: the user leaves, and the conversation stays as it is. */
static bool take_input(struct watch *w, struct err **e)
{
    enum answer got = answer_read(STDIN_FILENO, &w->typed);
    if (got == ANSWER_MORE)
        return true;
    if (got == ANSWER_END && w->mode != MODE_WHY) {
        prompt_end(w, false);
        end(w, EXIT_INTERRUPTED);
        return true;
    }
    autobuf typed = w->typed;
    w->typed = (struct buf){0};
    struct str text = str_trim(buf_str(&typed));
    console_answered(show_console(w->show), got == ANSWER_ENTERED);
    return w->mode == MODE_PAUSED ? take_wish(w, text, e) : take_answer(w, text, e);
}

/* ---- signals ---- */

static void ask_server(struct watch *w, const char *route)
{
    autoerr e = NULL;
    if (!call(w, route, STR_NONE, &e))
        show_note(w->show, STYLE_RED, err_text(e));
}

static void stop_at_once(struct watch *w)
{
    w->mode = MODE_STOPPING;
    show_note(w->show, STYLE_YELLOW, "Stopping; once more leaves without waiting.");
    show_set_wish(w->show, "stopping");
    ask_server(w, "interrupt");
}

static void pause_run(struct watch *w)
{
    w->mode = MODE_PAUSING;
    show_note(w->show, STYLE_YELLOW, "Pausing after the step in flight; Ctrl-C again stops it at once.");
    show_set_wish(w->show, "pausing");
    ask_server(w, "pause");
}

/* Nobody reads: as if the terminal had been closed. That a reader goes away is ordinary, a full disk is not. */
static void output_gone(struct watch *w, int why)
{
    w->mode = MODE_STOPPING;
    if (why != EPIPE && why != EIO) {
        fprintf(stderr, "handsd: standard output: %s\n", strerror(why));
        w->broken = true;
    }
    ask_server(w, "interrupt");
}

/* At a terminal the first Ctrl-C pauses, the second stops the step, the third leaves. Nobody could answer elsewhere: it
 * stops at once there, as it does when the process is to end. */
static void take_signal(struct watch *w, int number)
{
    if (number == SIGWINCH) {
        console_resized(show_console(w->show));
        if (!is_prompting(w))
            show_tick(w->show);
    } else if (is_prompting(w)) {
        prompt_end(w, false);
        end(w, EXIT_INTERRUPTED);
    } else if (w->mode == MODE_STOPPING) {
        _exit(EXIT_INTERRUPTED);
    } else if (number == SIGINT && w->interactive && w->mode == MODE_RUNNING) {
        pause_run(w);
    } else {
        stop_at_once(w);
    }
}

/* Of the server that lives in this process, on the conversation that is on the screen. */
static void show_notices(struct watch *w)
{
    autobuf text = {0}, own = {0};
    struct str line;
    notices_take(&text);
    buf_addf(&own, "conversation %.*s: ", STR_ARG(w->id));
    for (struct str rest = buf_str(&text); rest.n > 0 && str_split(&rest, '\n', &line);) {
        autobuf note = {0};
        ssize_t at = str_find(line, buf_str(&own));
        buf_add(&note, str_sub(line, 0, at < 0 ? line.n : (size_t)at));
        if (at >= 0)
            buf_add(&note, str_sub(line, (size_t)at + own.n, line.n));
        show_notice(w->show, buf_str(&note));
    }
    if (is_prompting(w))
        print_prompt(w);
}

static bool take_wake(struct watch *w, struct err **e)
{
    struct epoll_event events[4];
    struct signalfd_siginfo info;
    uint64_t ticks;
    int n = epoll_wait(w->wake, events, ARRAY_LEN(events), 0);
    for (int i = 0; i < n && !w->over; i++) {
        int fd = events[i].data.fd;
        if (fd == notices_fd())
            show_notices(w);
        if (fd == w->timer && read(fd, &ticks, sizeof(ticks)) > 0 && !is_prompting(w))
            show_tick(w->show);
        while (fd == w->signals && !w->over && read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
            take_signal(w, (int)info.ssi_signo);
        if (fd == STDIN_FILENO && is_prompting(w) && !take_input(w, e))
            return false;
    }
    return true;
}

/* ---- events ---- */

/* The state at a run's end: is it over, or is it our turn? */
static void settle(struct watch *w)
{
    struct str status = buf_str(&w->status);
    if (str_is(status, "running") || is_prompting(w))
        return;
    bool stopped = w->mode == MODE_STOPPING;
    if (str_is(status, "waiting_for_confirmation") && !stopped) {
        if (w->interactive) {
            prompt(w, MODE_ASKING);
            return;
        }
        show_note(
            w->show, STYLE_YELLOW,
            "The agent asks for confirmation, and there is no terminal to ask at. The conversation waits: resume "
            "it at a terminal; resumed elsewhere without a task, it goes ahead.");
        end(w, EXIT_FAILED);
        return;
    }
    if (str_is(status, "paused") && w->mode == MODE_PAUSING && w->interactive) {
        prompt(w, MODE_PAUSED);
        return;
    }
    bool interrupted = stopped || w->mode == MODE_PAUSING;
    end(w, str_is(status, "finished") ? 0 : interrupted ? EXIT_INTERRUPTED : EXIT_FAILED);
}

static void take_status(struct watch *w, struct str status)
{
    buf_clear(&w->status);
    buf_add(&w->status, status);
}

/* Somebody else answered what we asked the user. */
static void check_answered(struct watch *w, const struct json_value *event)
{
    if (!is_prompting(w) || !str_is(json_get_str(event, "key"), "execution_status") ||
        !str_is(json_get_str(event, "value"), "running"))
        return;
    prompt_end(w, false);
    show_note(w->show, STYLE_DIM, "It goes on: another client said so.");
    go_on(w);
}

static void take_event(struct watch *w, struct str text)
{
    autojson doc = json_parse_trusted(text, NULL);
    const struct json_value *event = json_root(doc);
    bool state = str_is(json_get_str(event, "key"), "full_state");
    show_event(w->show, event, text);
    check_answered(w, event);
    struct str status = json_get_str(json_get(event, "value"), "execution_status");
    if (state && status.p) {
        take_status(w, status);
        settle(w);
    }
    if (is_prompting(w) && !w->over && !state)
        print_prompt(w);
}

/* ---- beginning ---- */

/* The first frame is the state at attaching: what follows it belongs to us. */
static bool attach(struct watch *w, struct err **e)
{
    autobuf path = {0}, first = {0};
    buf_addf(&path, "/sockets/events/%.*s", STR_ARG(w->id));
    w->socket = client_socket_open(w->client, path.p, e);
    if (!w->socket || client_socket_read(w->socket, -1, &first, e) != FRAME_TEXT)
        return false;
    autojson doc = json_parse_trusted(buf_str(&first), NULL);
    const struct json_value *state = json_get(json_root(doc), "value");
    show_take_state(w->show, state);
    take_status(w, json_get_str(state, "execution_status"));
    return true;
}

/* Which actions wait for an answer is found in the log. */
static bool read_past(struct watch *w, struct err **e)
{
    autobuf path = {0}, answer = {0};
    buf_addf(&path, "/api/conversations/%.*s/events/search?sort_order=TIMESTAMP_DESC&limit=%d",
             STR_ARG(w->id), PAST_EVENTS);
    if (!client_call(w->client, "GET", path.p, STR_NONE, &answer, e))
        return false;
    autojson doc = json_parse(buf_str(&answer), NULL, e);
    const struct json_value *past[PAST_EVENTS];
    size_t n = 0;
    for (struct json_iter it = json_iter(json_get(json_root(doc), "items"));
         json_next(&it) && n < PAST_EVENTS;)
        past[n++] = it.value;
    while (n > 0)
        show_take_past(w->show, past[--n]);
    return doc != NULL;
}

static bool begin(struct watch *w, struct err **e)
{
    if (!str_is(buf_str(&w->status), "waiting_for_confirmation"))
        return send_task(w, e);
    if (!w->interactive && w->task.n > 0)
        return err_set(
            e, ERR_CONFLICT,
            "the conversation waits for a confirmation: resume it at a terminal to be asked, or without a "
            "task to go ahead");
    if (!w->interactive)
        return send_task(w, e);
    if (!read_past(w, e))
        return false;
    show_waiting_in_full(w->show);
    prompt(w, MODE_ASKING);
    return true;
}

static bool watch(struct watch *w, struct err **e)
{
    autobuf text = {0};
    while (!w->over) {
        enum client_frame frame = client_socket_read(w->socket, w->wake, &text, e);
        if (frame == FRAME_CLOSED)
            return false;
        if (frame == FRAME_WAKE && !take_wake(w, e))
            return false;
        if (frame == FRAME_TEXT)
            take_event(w, buf_str(&text));
        if (show_gone(w->show) && w->mode != MODE_STOPPING && !w->over)
            output_gone(w, show_gone(w->show));
    }
    return true;
}

static bool open_wake(struct watch *w, struct err **e)
{
    w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    w->wake = epoll_create1(EPOLL_CLOEXEC);
    if (w->timer < 0 || w->wake < 0)
        return err_errno(e, ERR_IO, "a timer for the display");
    int fds[] = {w->signals, w->timer, notices_fd()};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0 && epoll_ctl(w->wake, EPOLL_CTL_ADD, fds[i],
                                     &(struct epoll_event){.events = EPOLLIN, .data.fd = fds[i]}) != 0)
            return err_errno(e, ERR_IO, "waiting for signals");
    set_ticking(w, true);
    return true;
}

int run_watch(struct client *c, const struct run_options *o, struct str id, struct str task, int signals,
              struct err **e)
{
    struct watch w = {
        .client = c, .options = o, .id = id, .task = task, .signals = signals, .timer = -1, .wake = -1};
    w.show = show_new(o->json);
    w.interactive = isatty(STDIN_FILENO) && isatty(o->json ? STDERR_FILENO : STDOUT_FILENO);
    w.exit = EXIT_FAILED;
    bool ok = open_wake(&w, e) && attach(&w, e) && begin(&w, e) && watch(&w, e);
    console_set_live(show_console(w.show), STR(""), STR(""));
    console_flush(show_console(w.show));
    if (w.interactive)
        tcflush(STDIN_FILENO, TCIFLUSH); /* what was typed meanwhile was not meant for the shell */
    int status = ok ? w.exit : w.mode == MODE_STOPPING && !w.broken ? EXIT_INTERRUPTED : EXIT_FAILED;
    client_socket_free(w.socket);
    show_free(w.show);
    buf_deinit(&w.status);
    buf_deinit(&w.typed);
    if (w.timer >= 0)
        close(w.timer);
    if (w.wake >= 0)
        close(w.wake);
    return status;
}
