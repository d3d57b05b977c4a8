/* The fixture on a thread of its own, and a client that writes and reads raw bytes. */
#pragma once
#include "net_fixture.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#define CLIENT_TIMEOUT_S 20

struct running {
    struct fixture fixture;
    pthread_t thread;
    int port;
};

static void running_main(void *arg)
{
    struct running *run = arg;
    loop_run(run->fixture.loop);
}

static void running_start(struct running *run, const struct server_limits *limits,
                          const struct listener_config *config)
{
    signal(SIGPIPE, SIG_IGN);
    autoerr e = NULL;
    fixture_start(&run->fixture, limits, config, &e);
    if (!run->fixture.listener)
        fail_msg("%s", err_text(e));
    run->port = listener_port(run->fixture.listener);
    assert_true(thread_start(&run->thread, "loop", 1024 * 1024, running_main, run, NULL));
}

static void running_stop(struct running *run)
{
    loop_stop(run->fixture.loop);
    pthread_join(run->thread, NULL);
    fixture_end(&run->fixture);
}

/* Runs `fn` on the loop and waits for it. */
struct on_loop {
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void on_loop_run(void *arg)
{
    struct on_loop *call = arg;
    call->fn(call->arg);
    thread_lock(&call->lock);
    call->done = true;
    pthread_cond_signal(&call->cond);
    thread_unlock(&call->lock);
}

static inline void on_loop(struct running *run, void (*fn)(void *arg), void *arg)
{
    struct on_loop call = {.fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER};
    thread_cond_init(&call.cond);
    loop_call(run->fixture.loop, on_loop_run, &call);
    thread_lock(&call.lock);
    while (!call.done)
        thread_cond_wait(&call.cond, &call.lock, 0);
    thread_unlock(&call.lock);
    pthread_cond_destroy(&call.cond);
}

/* ---- the client ---- */

static int client_open(const struct running *run)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval timeout = {.tv_sec = CLIENT_TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)run->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void client_send(int fd, struct str data)
{
    while (data.n > 0) {
        ssize_t n = send(fd, data.p, data.n, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* refused in the middle: the answer tells */
        data = str_sub(data, (size_t)n, data.n);
    }
}

/* Reads at least `n` bytes more, or to the end. False at the end. */
static bool client_more(int fd, struct buf *in)
{
    char *to = buf_reserve(in, 65536);
    ssize_t n = recv(fd, to, 65536, 0);
    if (n < 0 && errno != ECONNRESET)
        fail_msg("no answer: %s", strerror(errno));
    if (n <= 0)
        return false;
    in->n += (size_t)n;
    return true;
}

struct answer {
    int status;
    char *head, *body; /* NUL-terminated */
    size_t body_n;
};

static void answer_cleanup(struct answer *a)
{
    free(a->head);
    free(a->body);
}
#define autoanswer __attribute__((cleanup(answer_cleanup))) struct answer

static size_t answer_length(struct str head)
{
    ssize_t at = str_find_nocase(head, STR("content-length: "));
    uint64_t n = 0;
    if (at >= 0) {
        struct str rest = str_sub(head, (size_t)at + 16, head.n), line;
        str_split(&rest, '\r', &line);
        assert_true(str_to_u64(line, &n));
    }
    return n;
}

/* Undoes the chunks at the front of `in` behind `from`; reads on as needed. False when the stream was cut. */
static bool chunks_read(int fd, struct buf *in, size_t from, struct buf *body)
{
    for (;;) {
        ssize_t end;
        while ((end = str_find(str_sub(buf_str(in), from, in->n), STR("\r\n"))) < 0)
            if (!client_more(fd, in))
                return false;
        size_t size = strtoul(in->p + from, NULL, 16);
        from += (size_t)end + 2;
        while (in->n < from + size + 2)
            if (!client_more(fd, in))
                return false;
        buf_add(body, str_make(in->p + from, size));
        from += size + 2;
        if (size == 0) {
            buf_consume(in, from);
            return true;
        }
    }
}

/* Takes one answer off the connection; `in` holds what came behind it. Status 0: the end came first. */
static struct answer client_answer_to(int fd, struct buf *in, bool head_only)
{
    struct answer a = {0};
    ssize_t end;
    while ((end = str_find(buf_str(in), STR("\r\n\r\n"))) < 0)
        if (!client_more(fd, in))
            return a;
    struct str head = str_sub(buf_str(in), 0, (size_t)end + 2);
    assert_true(str_starts(head, STR("HTTP/1.1 ")));
    a.status = atoi(head.p + 9);
    a.head = str_dup(head);
    autobuf body = {0};
    if (str_find(head, STR("transfer-encoding: chunked")) >= 0 && !head_only) {
        if (!chunks_read(fd, in, (size_t)end + 4, &body))
            a.status = 0;
    } else {
        size_t n = head_only ? 0 : answer_length(head);
        while (in->n < (size_t)end + 4 + n) {
            if (!client_more(fd, in)) {
                a.status = 0;
                return a;
            }
        }
        buf_add(&body, str_make(in->p + end + 4, n));
        buf_consume(in, (size_t)end + 4 + n);
    }
    a.body_n = body.n;
    a.body = (char *)buf_take(&body).p;
    return a;
}

static inline struct answer client_answer(int fd, struct buf *in)
{
    return client_answer_to(fd, in, false);
}

/* One request on a connection of its own. */
static inline struct answer client_ask(const struct running *run, const char *request)
{
    autofd int fd = client_open(run);
    autobuf in = {0};
    client_send(fd, str_from(request));
    return client_answer(fd, &in);
}

static inline bool client_at_end(int fd, struct buf *in)
{
    return in->n == 0 && !client_more(fd, in);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define GET_WITH(path, headers) "GET " path " HTTP/1.1\r\nHost: localhost\r\n" headers "\r\n"
#define JSON_TYPE "Content-Type: application/json\r\n"
#define POST(path, headers, body) "POST " path " HTTP/1.1\r\nHost: localhost\r\n" headers "\r\n" body

#define assert_contains(text, part)                           \
    do {                                                      \
        if (!strstr((text), (part)))                          \
            fail_msg("\"%s\" is not in: %s", (part), (text)); \
    } while (0)

static inline void assert_refused(const struct running *run, const char *request, int status,
                                  const char *part)
{
    autoanswer a = client_ask(run, request);
    assert_int_equal(a.status, status);
    if (part)
        assert_contains(a.body, part);
}

/* One server for a group of tests. */
static inline int group_start(void **state)
{
    struct running *run = xcalloc(1, sizeof(*run));
    running_start(run, NULL, NULL);
    *state = run;
    return 0;
}

static inline int group_stop(void **state)
{
    running_stop(*state);
    free(*state);
    return 0;
}
