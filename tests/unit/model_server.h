/* The tests' model server (tests/support/openai_server.py) as a child, and its control requests. It ends with its
 * standard input, so it never outlives the test. */
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/fd.h"
#include "json/json.h"

struct model_server {
    pid_t pid;
    int input; /* closing it ends the server */
    int port;
    char base[64]; /* "http://127.0.0.1:PORT" */
};

extern char **environ;

/* Next to this file, as the compiler was given it; meson runs tests where it compiles. */
static inline void model_server_path(struct buf *out)
{
    const char *given = getenv("HANDSD_OPENAI_SERVER");
    struct str file = str_from(__FILE__);
    ssize_t slash = str_rfind_char(file, '/');
    buf_add(out, given ? str_from(given) : str_sub(file, 0, (size_t)(slash + 1)));
    if (!given)
        buf_add_cstr(out, "../support/openai_server.py");
}

static inline void model_server_start(struct model_server *s, char *unix_path)
{
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    autobuf path = {0};
    model_server_path(&path);
    char *argv[] = {"python3", path.p, "--until-eof", unix_path ? "--unix" : NULL, unix_path, NULL};
    assert_int_equal(posix_spawnp(&s->pid, "python3", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    s->input = in[1];
    autobuf line = {0};
    char c = 0;
    while (c != '\n') {
        assert_int_equal(read(out[0], &c, 1), 1);
        buf_add_char(&line, c);
    }
    close(out[0]);
    s->port = atoi(line.p);
    snprintf(s->base, sizeof(s->base), "http://127.0.0.1:%d", s->port);
}

static inline void model_server_stop(struct model_server *s)
{
    close(s->input);
    waitpid(s->pid, NULL, 0);
}

/* A blocking request of our own, so that what is tested does not test itself. The answer's body goes to `out`. */
static inline void model_server_control(const struct model_server *s, const char *method, const char *target,
                                        const char *body, struct buf *out)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    autobuf request = {0}, answer = {0};
    buf_addf(&request, "%s %s HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n\r\n%s", method, target,
             strlen(body), body);
    assert_true(fd_write_all(fd, buf_str(&request), NULL));
    shutdown(fd, SHUT_WR);
    assert_true(fd_read_all(fd, 64 << 20, &answer, NULL));
    close(fd);
    assert_true(str_starts(buf_str(&answer), STR("HTTP/1.1 200")));
    ssize_t end = str_find(buf_str(&answer), STR("\r\n\r\n"));
    assert_true(end > 0);
    if (out)
        buf_add(out, str_sub(buf_str(&answer), (size_t)end + 4, answer.n));
}

static inline void model_server_script(const struct model_server *s, const char *answers)
{
    model_server_control(s, "POST", "/reset", "", NULL);
    model_server_control(s, "POST", "/script", answers, NULL);
}

/* Requests seen so far, once there are `wait` of them and `gone` clients have left early. */
static inline struct json_doc *model_server_requests(const struct model_server *s, int wait, int gone)
{
    char target[64];
    snprintf(target, sizeof(target), "/requests?wait=%d&gone=%d", wait, gone);
    autobuf body = {0};
    model_server_control(s, "GET", target, "", &body);
    struct json_doc *doc = json_parse(buf_str(&body), NULL, NULL);
    assert_non_null(doc);
    return doc;
}

static inline const struct json_value *json_at(const struct json_value *list, size_t index)
{
    for (struct json_iter it = json_iter(list); json_next(&it);)
        if (it.index == index)
            return it.value;
    return NULL;
}
