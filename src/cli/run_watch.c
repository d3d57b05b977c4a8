#include "base/cleanup.h"
#include "cli/run.h"
#include "cli/show.h"
#include "json/writer.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>

#define EXIT_INTERRUPTED 130
#define ANSWER_MAX 4096 /* bytes of a line typed at the prompt */

struct watch {
    struct client *client;
    struct client_socket *socket;
    struct show show;
    struct str id;
    int signals;
    bool interrupted;
};

static bool call(struct watch *w, const char *route, struct str body, struct err **e)
{
    autobuf path = {0}, answer = {0};
    buf_addf(&path, "/api/conversations/%.*s/%s", STR_ARG(w->id), route);
    return client_call(w->client, "POST", path.p, body, &answer, e);
}

/* ---- beginning ---- */

static bool send_task(struct watch *w, struct str task, struct err **e)
{
    if (task.n == 0) {
        autoerr why = NULL;
        if (call(w, "run", STR_NONE, &why) || why->kind == ERR_CONFLICT) /* it runs: fine, we watch */
            return true;
        return err_set(e, why->kind, "%s", err_text(why));
    }
    autobuf body = {0};
    struct json_writer j = json_writer(&body);
    jw_object(&j);
    jw_key(&j, "content");
    jw_array(&j);
    jw_object(&j);
    jw_member_cstr(&j, "type", "text");
    jw_member_str(&j, "text", task);
    jw_object_end(&j);
    jw_array_end(&j);
    jw_member_bool(&j, "run", true);
    jw_object_end(&j);
    return call(w, "events", buf_str(&body), e);
}

/* ---- the user's word ---- */

/* The first time the run is asked to end, and then watched until it has; the second time we leave. */
static void stop(struct watch *w)
{
    struct signalfd_siginfo info;
    autoerr e = NULL;
    while (read(w->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (w->interrupted)
            _exit(EXIT_INTERRUPTED);
        w->interrupted = true;
        show_note(&w->show, "interrupting; once more to leave at once");
        if (!call(w, "interrupt", STR_NONE, &e))
            fprintf(stderr, "handsd: %s\n", err_text(e));
    }
}

/* Reads a line at the terminal. False at its end, or when the user wants to stop. What was typed before the question is
 * no answer to it. */
static bool ask(struct watch *w, const char *prompt, struct buf *line)
{
    char text[ANSWER_MAX];
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = w->signals, .events = POLLIN}};
    if (isatty(STDIN_FILENO))
        tcflush(STDIN_FILENO, TCIFLUSH);
    fputs(prompt, stdout);
    fflush(stdout);
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    if (fds[1].revents) {
        stop(w);
        return false;
    }
    ssize_t n = read(STDIN_FILENO, text, sizeof(text));
    if (n <= 0)
        return false;
    buf_clear(line);
    buf_add(line, str_trim(str_make(text, (size_t)n)));
    return true;
}

static bool accept_actions(struct watch *w, struct err **e)
{
    return call(w, "events/respond_to_confirmation", STR("{\"accept\":true}"), e);
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
    return call(w, "events/respond_to_confirmation", buf_str(&body), e) && call(w, "run", STR_NONE, e);
}

/* True: the run goes on. */
static bool confirm(struct watch *w, struct err **e)
{
    autobuf line = {0};
    if (!isatty(STDIN_FILENO)) {
        show_note(&w->show, "The agent asks for confirmation, and there is no terminal to ask at.");
        return false;
    }
    do {
        if (!ask(w, "Go ahead? [y]es, or why not: ", &line))
            return false;
    } while (line.n == 0); /* a bare Enter says neither */
    struct str answer = buf_str(&line);
    if (str_eq_nocase(answer, STR("y")) || str_eq_nocase(answer, STR("yes")))
        return accept_actions(w, e);
    if (str_eq_nocase(answer, STR("n")) || str_eq_nocase(answer, STR("no")))
        answer = STR("");
    return reject_actions(w, answer, e);
}

/* ---- watching ---- */

/* The status in a full_state; it says how things stand when a run has ended. */
static struct str full_state(const struct json_value *event)
{
    if (!str_is(json_get_str(event, "key"), "full_state"))
        return STR_NONE;
    return json_get_str(json_get(event, "value"), "execution_status");
}

static int exit_status(const struct watch *w, struct str status)
{
    if (w->interrupted)
        return EXIT_INTERRUPTED;
    return str_is(status, "finished") ? 0 : 1;
}

/* Next event; false when there will be none. */
static bool next_event(struct watch *w, struct buf *text, struct err **e)
{
    for (;;) {
        enum client_frame frame = client_socket_read(w->socket, w->signals, text, e);
        if (frame == FRAME_TEXT)
            return true;
        if (frame == FRAME_CLOSED)
            return false;
        stop(w);
    }
}

static int watch(struct watch *w, struct err **e)
{
    autobuf text = {0};
    while (next_event(w, &text, e)) {
        autojson doc = json_parse_trusted(buf_str(&text), NULL);
        show_event(&w->show, json_root(doc), buf_str(&text));
        struct str status = full_state(json_root(doc));
        if (!status.p || str_is(status, "running"))
            continue;
        if (!w->interrupted && str_is(status, "waiting_for_confirmation") && confirm(w, e))
            continue;
        if (e && *e)
            return 1;
        autobuf end = {0};
        buf_add(&end, status);
        show_end(&w->show, end.p, w->id);
        return exit_status(w, status);
    }
    return w->interrupted ? EXIT_INTERRUPTED : 1;
}

/* The first frame is the state at attaching: what follows it belongs to us. */
static bool attach(struct watch *w, struct err **e)
{
    autobuf path = {0}, first = {0};
    buf_addf(&path, "/sockets/events/%.*s", STR_ARG(w->id));
    w->socket = client_socket_open(w->client, path.p, e);
    return w->socket && next_event(w, &first, e);
}

int run_watch(struct client *c, const struct run_options *o, struct str id, struct str task, int signals,
              struct err **e)
{
    struct watch w = {.client = c, .id = id, .signals = signals};
    int status = 1;
    show_init(&w.show, o->json);
    if (attach(&w, e) && send_task(&w, task, e))
        status = watch(&w, e);
    client_socket_free(w.socket);
    return status;
}
