/* Sending what a hand has: it reads as far as it has credit, and gets more credit when the client has taken what was
 * there. So a client that stalls holds one window of credit, and the hand's other calls go on. Everything here runs on
 * the loop, but for the start. */
#include "api/download.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/utf8.h"

struct download {
    struct request *request; /* until the answer has begun */
    struct server *server;
    struct hands *hands;
    struct pool *pool;
    struct file_sending how;
    struct str name;
    uint64_t call, stream;
    uint64_t left; /* of the length that was announced */
    uint64_t owed; /* bytes written to the stream for which the hand has no new credit yet */
    bool sized, begun, ended, call_over, stream_over;
    enum wire_status status;
    struct buf message; /* why it was refused */
};

static void download_free(struct download *d)
{
    buf_deinit(&d->message);
    free(d);
}

/* ---- names ---- */

static bool is_attr_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$&+-.^_`|~", c) != NULL);
}

/* RFC 6266 with the name of RFC 5987, which older clients ignore in favour of plain ASCII. */
static void disposition_write(struct buf *out, struct str name)
{
    bool plain = true;
    name = utf8_prefix_bytes(name, FILE_NAME_MAX);
    buf_add(out, STR("attachment; filename=\""));
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool ok = (unsigned char)c >= 0x20 && (unsigned char)c < 0x7f && c != '"' && c != '\\' && c != '%';
        plain = plain && ok;
        buf_add_char(out, ok ? c : '_');
    }
    buf_add_char(out, '"');
    if (plain)
        return;
    buf_add(out, STR("; filename*=utf-8''"));
    for (size_t i = 0; i < name.n; i++) {
        if (is_attr_char(name.p[i]))
            buf_add_char(out, name.p[i]);
        else
            buf_addf(out, "%%%02X", (unsigned char)name.p[i]);
    }
}

static void headers_set(struct download *d)
{
    autobuf disposition = {0};
    request_set_header(d->request, STR("x-content-type-options"), STR("nosniff"));
    if (d->how.attachment) {
        disposition_write(&disposition, d->name);
        request_set_header(d->request, STR("content-disposition"), buf_str(&disposition));
    } else {
        /* Whatever an agent has written may not act in the name of this server's own pages. */
        request_set_header(d->request, STR("content-security-policy"), STR("sandbox"));
    }
}

/* ---- the stream ---- */

static void on_room(void *arg)
{
    struct download *d = arg;
    while (d->owed > 0) {
        uint32_t n = d->owed < UINT32_MAX ? (uint32_t)d->owed : UINT32_MAX;
        hand_credit(d->hands, d->call, WIRE_STDOUT, n);
        d->owed -= n;
    }
}

static void on_closed(void *arg)
{
    struct download *d = arg;
    d->stream_over = true;
    if (d->call_over)
        download_free(d);
    else
        hand_cancel(d->hands, d->call);
}

static void stream_end(struct download *d, bool whole)
{
    if (d->ended)
        return;
    d->ended = true;
    server_stream_end(d->server, d->stream, whole);
}

/* Files of size 0 may have content all the same (/proc): what comes is sent in chunks. */
static void stream_begin_with(struct download *d, int64_t size)
{
    d->begun = true;
    d->sized = size > 0;
    d->left = d->sized ? (uint64_t)size : 0;
    headers_set(d);
    struct request *r = steal(d->request);
    bool head_only = request_head_only(r);
    d->stream = request_stream(r, 200, d->how.content_type, d->sized ? size : -1, on_room, on_closed, d);
    if (head_only) {
        stream_end(d, true);
        hand_cancel(d->hands, d->call);
    }
}

/* ---- the hand ---- */

static void on_note(void *arg, struct str fields)
{
    struct download *d = arg;
    if (!d->begun)
        stream_begin_with(d, wire_get_int(fields, F_SIZE, 0));
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct download *d = arg;
    if (stream != WIRE_STDOUT)
        return;
    if (!d->begun)
        stream_begin_with(d, 0);
    if (d->ended || d->stream_over)
        return;
    d->owed += data.n;
    /* It has grown meanwhile: the client gets as much as was announced. */
    if (d->sized && data.n > d->left)
        data = str_sub(data, 0, (size_t)d->left);
    d->left -= d->sized ? data.n : 0;
    server_stream_write(d->server, d->stream, bytes_new(data));
    if (d->sized && d->left == 0) {
        stream_end(d, true);
        hand_cancel(d->hands, d->call);
    }
}

static void refused_run(void *arg)
{
    struct download *d = arg;
    d->how.refused(d->request, d->how.args, d->status, buf_str(&d->message));
    download_free(d);
}

static void not_begun(struct download *d, struct str fields, const struct err *e)
{
    if (e) {
        autoerr gone = err_copy(e);
        if (gone->kind == ERR_NOT_FOUND) /* the hand's program is: nothing that the client asked for */
            gone->kind = ERR_GONE;
        if (d->how.failed)
            d->how.failed(d->request, d->how.args, gone);
        else
            request_reply_error(d->request, gone);
        download_free(d);
        return;
    }
    d->status = wire_get_status(fields);
    buf_add(&d->message, wire_get_str(fields, F_MESSAGE));
    pool_submit_always(d->pool, refused_run, d);
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct download *d = arg;
    bool ok = !e && wire_get_status(fields) == WIRE_OK;
    if (!d->begun && !ok) {
        not_begun(d, fields, e);
        return;
    }
    if (!d->begun)
        stream_begin_with(d, 0);
    d->call_over = true;
    if (d->stream_over) {
        download_free(d);
        return;
    }
    if (!ok && !d->ended)
        log_warn("a download ends early: %s", e ? err_text(e) : "it could not be read on");
    stream_end(d, ok); /* cuts the connection when less came than was announced */
}

void download_send(struct request *r, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                   struct str name, const struct file_sending *how)
{
    static const struct hand_callbacks callbacks = {
        .on_data = on_data, .on_note = on_note, .on_done = on_done};
    struct download *d = xcalloc(1, sizeof(*d));
    d->request = r;
    d->server = request_server(r);
    d->hands = conversations_hands(conversations_of(r));
    d->pool = app_of(r)->config.pool;
    d->how = *how;
    d->name = arena_str(request_arena(r), name);
    d->call = hand_call_number(d->hands);
    hand_call_numbered(d->hands, d->call, hand, op, fields, 0, false, &callbacks, d);
}

void file_send(struct request *r, const struct hand_spec *hand, struct str root, struct str path,
               const struct file_sending *how)
{
    autobuf fields = {0};
    wire_add_str(&fields, F_PATH, path);
    if (root.p)
        wire_add_str(&fields, F_ROOT, root);
    download_send(r, hand, OP_FILE_READ, &fields, path_base(path), how);
}
