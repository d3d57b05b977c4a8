#include "net/sse.h"

/* The stream format of the HTML standard: lines end in LF, CR or CRLF; a blank line ends an event; `data` lines are
 * joined by LF; a line that starts with a colon is a comment; a byte order mark at the start is skipped. `id` and
 * `retry` matter only to a client that reconnects, which ours never do. */

typedef bool sse_handler(void *arg, struct str event, struct str data);

void sse_deinit(struct sse *s)
{
    buf_deinit(&s->line);
    buf_deinit(&s->data);
    buf_deinit(&s->event);
}

static bool too_large(const struct sse *s, struct err **e)
{
    return err_set(e, ERR_TOO_LARGE, "one server-sent event is larger than %zu bytes", s->data_max);
}

static bool event_send(struct sse *s, sse_handler *on_event, void *arg)
{
    bool go_on = true;
    if (s->data.n > 0) {
        buf_truncate(&s->data, s->data.n - 1); /* the LF behind the last data line */
        go_on = on_event(arg, buf_str(&s->event), buf_str(&s->data));
    }
    buf_clear(&s->data);
    buf_clear(&s->event);
    return go_on;
}

static bool line_end(struct sse *s, sse_handler *on_event, void *arg, struct err **e)
{
    struct str line = buf_str(&s->line);
    if (!s->started && str_starts(line, STR("\xEF\xBB\xBF")))
        line = str_sub(line, 3, line.n);
    s->started = true;
    bool ok = true;
    if (line.n == 0) {
        ok = event_send(s, on_event, arg);
    } else if (line.p[0] != ':') {
        ssize_t colon = str_find_char(line, ':');
        struct str name = colon < 0 ? line : str_sub(line, 0, (size_t)colon);
        struct str value = colon < 0 ? STR("") : str_sub(line, (size_t)colon + 1, line.n);
        if (str_starts(value, STR(" ")))
            value = str_sub(value, 1, value.n);
        if (str_is(name, "data")) {
            if (s->data.n + value.n > s->data_max)
                return too_large(s, e);
            buf_add(&s->data, value);
            buf_add_char(&s->data, '\n');
        } else if (str_is(name, "event")) {
            buf_clear(&s->event);
            buf_add(&s->event, value);
        }
    }
    buf_clear(&s->line);
    return ok;
}

bool sse_feed(struct sse *s, struct str bytes, sse_handler *on_event, void *arg, struct err **e)
{
    size_t at = 0;
    while (at < bytes.n) {
        if (s->saw_cr && bytes.p[at] == '\n') { /* the second half of CRLF, perhaps of an earlier piece */
            s->saw_cr = false;
            at++;
            continue;
        }
        s->saw_cr = false;
        size_t end = at;
        while (end < bytes.n && bytes.p[end] != '\n' && bytes.p[end] != '\r')
            end++;
        /* A line is a data line and its name; nothing longer can become an event. */
        if (s->line.n + (end - at) > s->data_max + sizeof("data: "))
            return too_large(s, e);
        buf_add(&s->line, str_sub(bytes, at, end));
        if (end == bytes.n)
            return true;
        s->saw_cr = bytes.p[end] == '\r';
        at = end + 1;
        if (!line_end(s, on_event, arg, e))
            return false;
    }
    return true;
}

bool sse_end(struct sse *s, sse_handler *on_event, void *arg, struct err **e)
{
    if (s->line.n > 0 && !line_end(s, on_event, arg, e))
        return false;
    return event_send(s, on_event, arg);
}
