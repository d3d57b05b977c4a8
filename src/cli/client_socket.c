/* A WebSocket client, as small as it can be: it reads text, answers pings, and sends nothing else. The answer's
 * Sec-WebSocket-Accept is not checked: the peer is a server that this user runs. */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/uuid.h"
#include "cli/client_internal.h"
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#define HEAD_MAX (64 * 1024)
#define MESSAGE_MAX (16 * 1024 * 1024)
#define READ_BYTES (64 * 1024)

enum opcode { OP_CONTINUE = 0, OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct client_socket {
    int fd;
    struct buf in;      /* read and not taken yet */
    struct buf message; /* fragments so far */
};

/* ---- connecting ---- */

/* "http://HOST:PORT" or "http://[HOST]:PORT" */
static bool split_url(const char *url, struct buf *host, struct buf *port, struct err **e)
{
    struct str rest = str_from(url);
    if (!str_starts(rest, STR("http://")))
        return err_set(e, ERR_INVALID, "%s is no http:// URL", url);
    rest = str_sub(rest, 7, rest.n);
    ssize_t slash = str_find_char(rest, '/');
    if (slash >= 0)
        rest = str_sub(rest, 0, (size_t)slash);
    ssize_t colon = str_rfind_char(rest, ':');
    if (colon < 0)
        return err_set(e, ERR_INVALID, "%s names no port", url);
    struct str name = str_sub(rest, 0, (size_t)colon);
    if (str_starts(name, STR("[")) && str_ends(name, STR("]")))
        name = str_sub(name, 1, name.n - 1);
    buf_add(host, name);
    buf_add(port, str_sub(rest, (size_t)colon + 1, rest.n));
    return true;
}

static int connect_to(const char *url, struct err **e)
{
    autobuf host = {0}, port = {0};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    if (!split_url(url, &host, &port, e))
        return -1;
    int rc = getaddrinfo(host.p, port.p, &hints, &list);
    if (rc != 0) {
        err_set(e, ERR_NOT_FOUND, "%s: %s", url, gai_strerror(rc));
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    if (fd < 0)
        err_errno(e, ERR_IO, "cannot connect to %s", url);
    freeaddrinfo(list);
    return fd;
}

static bool read_more(struct client_socket *s, struct err **e)
{
    ssize_t n;
    do
        n = read(s->fd, buf_reserve(&s->in, READ_BYTES), READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, ERR_IO, "the connection to the server");
    if (n == 0)
        return err_set(e, ERR_GONE, "the server closed the connection");
    s->in.n += (size_t)n;
    return true;
}

static bool upgrade(struct client_socket *s, const struct client *c, const char *path, struct err **e)
{
    autobuf head = {0}, nonce = {0};
    char random[16];
    random_bytes(random, sizeof(random));
    base64_encode(&nonce, str_make(random, sizeof(random)));
    buf_addf(
        &head,
        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: %s\r\n",
        path, c->base_url + strlen("http://"), nonce.p);
    if (c->key)
        buf_addf(&head, "X-Session-API-Key: %s\r\n", c->key);
    buf_add(&head, STR("\r\n"));
    if (!fd_write_all(s->fd, buf_str(&head), e))
        return false;
    ssize_t end;
    while ((end = str_find(buf_str(&s->in), STR("\r\n\r\n"))) < 0)
        if (s->in.n > HEAD_MAX || !read_more(s, e))
            return err_set(e, ERR_UPSTREAM, "the server's answer has no end");
    struct str line = buf_str(&s->in);
    if (!str_starts(line, STR("HTTP/1.1 101")))
        return err_set(e, ERR_UPSTREAM, "the server refuses the socket: %.*s", (int)str_find_char(line, '\r'),
                       line.p);
    buf_consume(&s->in, (size_t)end + 4);
    return true;
}

struct client_socket *client_socket_open(struct client *c, const char *path, struct err **e)
{
    struct client_socket *s = xcalloc(1, sizeof(*s));
    s->fd = connect_to(c->base_url, e);
    if (s->fd >= 0 && upgrade(s, c, path, e))
        return s;
    client_socket_free(s);
    return NULL;
}

void client_socket_free(struct client_socket *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    buf_deinit(&s->in);
    buf_deinit(&s->message);
    free(s);
}

/* ---- frames ---- */

struct frame {
    bool last;
    unsigned opcode;
    size_t head;
    uint64_t length;
};

/* False while bytes are missing. */
static bool frame_parse(struct str in, struct frame *f)
{
    const uint8_t *p = (const uint8_t *)in.p;
    if (in.n < 2)
        return false;
    f->last = (p[0] & 0x80) != 0;
    f->opcode = p[0] & 0x0f;
    f->length = p[1] & 0x7f;
    size_t extra = f->length == 126 ? 2 : f->length == 127 ? 8 : 0;
    f->head = 2 + extra;
    if (in.n < f->head)
        return false;
    if (extra > 0)
        f->length = 0;
    for (size_t i = 0; i < extra; i++)
        f->length = f->length << 8 | p[2 + i];
    return true;
}

static bool send_pong(struct client_socket *s, struct str payload, struct err **e)
{
    autobuf frame = {0};
    uint8_t mask[4];
    random_bytes(mask, sizeof(mask));
    buf_add_char(&frame, (char)(0x80 | OP_PONG));
    buf_add_char(&frame, (char)(0x80 | payload.n)); /* a ping has at most 125 bytes */
    buf_add_bytes(&frame, mask, sizeof(mask));
    for (size_t i = 0; i < payload.n; i++)
        buf_add_char(&frame, (char)((uint8_t)payload.p[i] ^ mask[i % 4]));
    return fd_write_all(s->fd, buf_str(&frame), e);
}

static void say_closed(struct str payload, struct err **e)
{
    int code = payload.n >= 2 ? (uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1] : 1005;
    struct str reason = str_sub(payload, 2, payload.n);
    err_set(e, ERR_GONE, "the server closed the socket: %d %.*s", code, STR_ARG(reason));
}

enum taken { TAKEN_NONE, TAKEN_SOME, TAKEN_MESSAGE, TAKEN_END };

static enum taken take_frame(struct client_socket *s, struct buf *text, struct err **e)
{
    struct frame f;
    if (!frame_parse(buf_str(&s->in), &f))
        return TAKEN_NONE;
    if (f.length > MESSAGE_MAX || s->message.n + f.length > MESSAGE_MAX) {
        err_set(e, ERR_TOO_LARGE, "the server sends a message of more than 16 MiB");
        return TAKEN_END;
    }
    if (s->in.n < f.head + f.length)
        return TAKEN_NONE;
    struct str payload = str_sub(buf_str(&s->in), f.head, f.head + (size_t)f.length);
    enum taken taken = TAKEN_SOME;
    if (f.opcode == OP_TEXT || f.opcode == OP_CONTINUE) {
        buf_add(&s->message, payload);
        if (f.last) {
            buf_clear(text);
            buf_add(text, buf_str(&s->message));
            buf_clear(&s->message);
            taken = TAKEN_MESSAGE;
        }
    } else if (f.opcode == OP_PING && f.length <= 125) {
        taken = send_pong(s, payload, e) ? TAKEN_SOME : TAKEN_END;
    } else if (f.opcode == OP_CLOSE) {
        say_closed(payload, e);
        taken = TAKEN_END;
    }
    buf_consume(&s->in, f.head + (size_t)f.length);
    return taken;
}

enum client_frame client_socket_read(struct client_socket *s, int wake_fd, struct buf *text, struct err **e)
{
    for (;;) {
        enum taken taken = take_frame(s, text, e);
        if (taken == TAKEN_MESSAGE)
            return FRAME_TEXT;
        if (taken == TAKEN_END)
            return FRAME_CLOSED;
        if (taken == TAKEN_SOME)
            continue;
        struct pollfd fds[2] = {{.fd = s->fd, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};
        if (poll(fds, wake_fd >= 0 ? 2 : 1, -1) < 0 && errno != EINTR) {
            err_errno(e, ERR_IO, "poll");
            return FRAME_CLOSED;
        }
        if (wake_fd >= 0 && fds[1].revents)
            return FRAME_WAKE;
        if (fds[0].revents && !read_more(s, e))
            return FRAME_CLOSED;
    }
}
