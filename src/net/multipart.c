#include "net/multipart.h"
#include "base/cleanup.h"

enum state {
    STATE_PREAMBLE, /* before the first boundary */
    STATE_BEHIND,   /* right behind a boundary: "--", blanks or the end of its line */
    STATE_DASH,     /* one '-' behind it */
    STATE_BLANKS,   /* white space that mail programs put there */
    STATE_LINE_END, /* its CR was there */
    STATE_HEAD,
    STATE_DATA,
    STATE_EPILOGUE, /* behind the last boundary: of no interest */
    STATE_BAD,
};

/* ---- parameters of a header: NAME "=" (token or quoted string), after ';' ---- */

/* Takes the next parameter off; quoted text is unescaped in place, over `text`, which is ours to change. */
static bool param_next(char **at, const char *end, struct str *name, struct str *value)
{
    char *p = *at;
    while (p < end && (*p == ';' || *p == ' ' || *p == '\t'))
        p++;
    char *start = p;
    while (p < end && *p != '=' && *p != ';')
        p++;
    *name = str_trim(str_make(start, (size_t)(p - start)));
    *value = STR("");
    if (p < end && *p == '=' && p + 1 < end && p[1] == '"') {
        char *out = p + 2, *from = out;
        for (p = from; p < end && *p != '"'; p++) {
            /* Browsers do not escape backslashes of file names, so only a quote is taken for escaped. */
            if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\'))
                p++;
            *out++ = *p;
        }
        *value = str_make(from, (size_t)(out - from));
        while (p < end && *p != ';')
            p++;
    } else if (p < end && *p == '=') {
        start = ++p;
        while (p < end && *p != ';')
            p++;
        *value = str_trim(str_make(start, (size_t)(p - start)));
    }
    *at = p;
    return name->n > 0;
}

static bool boundary_valid(struct str boundary)
{
    if (boundary.n == 0 || boundary.n > MULTIPART_BOUNDARY_MAX)
        return false;
    for (size_t i = 0; i < boundary.n; i++)
        if ((unsigned char)boundary.p[i] < 0x20 || (unsigned char)boundary.p[i] >= 0x7f)
            return false;
    return boundary.p[boundary.n - 1] != ' ';
}

bool multipart_init(struct multipart *m, struct str content_type, const struct multipart_callbacks *callbacks,
                    void *arg, struct err **e)
{
    *m = (struct multipart){.callbacks = callbacks, .arg = arg};
    autofree char *text = str_dup(content_type);
    char *at = text, *end = text + content_type.n;
    struct str name, value, boundary = STR_NONE;
    while (at < end && *at != ';')
        at++;
    if (!str_eq_nocase(str_trim(str_make(text, (size_t)(at - text))), STR("multipart/form-data")))
        return err_set(e, ERR_INVALID, "the body must be multipart/form-data");
    while (param_next(&at, end, &name, &value))
        if (!boundary.p && str_eq_nocase(name, STR("boundary")))
            boundary = value;
    if (!boundary.p || !boundary_valid(boundary))
        return err_set(e, ERR_INVALID, "the boundary of multipart/form-data is missing or malformed");
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary.p, boundary.n);
    m->delimiter_n = 4 + boundary.n;
    m->matched = m->supposed = 2; /* the first boundary needs no line before it */
    return true;
}

void multipart_deinit(struct multipart *m)
{
    buf_deinit(&m->head);
}

/* ---- the head of a part ---- */

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 5987, charset "'" language "'" bytes as %XX, in place and as UTF-8. False for another charset or a malformed value. */
static bool extended_read(struct str *text)
{
    struct str rest = *text, charset, language;
    if (str_find_char(rest, '\'') < 0 || !str_split(&rest, '\'', &charset) || str_find_char(rest, '\'') < 0 ||
        !str_split(&rest, '\'', &language))
        return false;
    bool latin = str_eq_nocase(charset, STR("ISO-8859-1"));
    if (!latin && !str_eq_nocase(charset, STR("UTF-8")))
        return false;
    char *out = (char *)rest.p, *start = out; /* what is decoded is shorter than its %XX, in Latin-1 too */
    for (size_t i = 0; i < rest.n; i++) {
        int high = rest.p[i] == '%' && i + 2 < rest.n ? hex_of(rest.p[i + 1]) : -1;
        int low = high >= 0 ? hex_of(rest.p[i + 2]) : -1;
        unsigned byte = low >= 0 ? (unsigned)(high << 4 | low) : 0;
        if (rest.p[i] != '%') {
            *out++ = rest.p[i];
            continue;
        }
        if (low < 0)
            return false;
        i += 2;
        if (latin && byte >= 0x80) {
            *out++ = (char)(0xc0 | byte >> 6);
            byte = 0x80 | (byte & 0x3f);
        }
        *out++ = (char)byte;
    }
    *text = str_make(start, (size_t)(out - start));
    return true;
}

/* `filename*` says it better than `filename`, which older programs read. */
static void disposition_read(char *value, size_t n, struct multipart_part *part)
{
    char *at = value, *end = value + n;
    struct str key, text, extended = STR_NONE;
    while (at < end && *at != ';')
        at++;
    while (param_next(&at, end, &key, &text)) {
        if (str_eq_nocase(key, STR("name")))
            part->name = text;
        else if (str_eq_nocase(key, STR("filename")))
            part->file_name = text;
        else if (str_eq_nocase(key, STR("filename*")) && extended_read(&text))
            extended = text;
    }
    if (extended.p)
        part->file_name = extended;
}

/* `head` is all header lines; each ends in CR LF. */
static bool head_read(struct multipart *m, struct err **e)
{
    struct multipart_part part = {.name = STR("")};
    struct str rest = buf_str(&m->head), line;
    while (str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        ssize_t colon = str_find_char(line, ':');
        if (line.n == 0)
            continue;
        if (colon <= 0) {
            m->state = STATE_BAD;
            return err_set(e, ERR_INVALID, "a part of the form data has a malformed header");
        }
        struct str name = str_sub(line, 0, (size_t)colon);
        struct str value = str_trim(str_sub(line, (size_t)colon + 1, line.n));
        if (str_eq_nocase(name, STR("Content-Disposition")))
            disposition_read((char *)value.p, value.n, &part); /* in m->head, which is ours */
        else if (str_eq_nocase(name, STR("Content-Type")))
            part.content_type = value;
    }
    bool ok = m->callbacks->on_part(m->arg, &part);
    buf_clear(&m->head);
    return ok;
}

/* The head ends at its first empty line, which may be the very first. */
static bool head_complete(const struct buf *head)
{
    return str_is(buf_str(head), "\r\n") || str_ends(buf_str(head), STR("\r\n\r\n"));
}

static size_t feed_head(struct multipart *m, struct str data, bool *ok, struct err **e)
{
    size_t n = 0;
    while (n < data.n && m->state == STATE_HEAD) {
        if (m->head.n == MULTIPART_HEAD_MAX) {
            m->state = STATE_BAD;
            *ok = err_set(e, ERR_TOO_LARGE, "a part of the form data has too long headers");
            return n;
        }
        buf_add_char(&m->head, data.p[n++]);
        if (data.p[n - 1] == '\n' && head_complete(&m->head)) {
            m->state = STATE_DATA;
            /* The boundary's own CR LF may be that empty line: then the part has no content at all. */
            m->matched = m->supposed = 2;
            *ok = head_read(m, e);
            return n;
        }
    }
    return n;
}

/* ---- content, and what stands before the first boundary ---- */

static bool content(struct multipart *m, struct str data)
{
    if (m->state == STATE_PREAMBLE || data.n == 0)
        return true;
    return m->callbacks->on_data(m->arg, data);
}

/* Looks for the delimiter. What turns out to be none of it is content: handed over in one piece with what is around it,
 * and from the delimiter itself where the bytes came in an earlier piece. CR is only the delimiter's first character, so
 * that a new one can begin nowhere within. */
static size_t feed_content(struct multipart *m, struct str data, bool *ok)
{
    size_t i = 0;
    while (i < data.n) {
        if (m->matched == 0) {
            const char *cr = memchr(data.p + i, '\r', data.n - i);
            if (!cr)
                break;
            i = (size_t)(cr - data.p);
        }
        if (data.p[i] != m->delimiter[m->matched]) {
            if (m->held > 0)
                *ok = content(m, str_make(m->delimiter + m->supposed, m->held));
            m->matched = m->supposed = m->held = 0;
            if (!*ok)
                return i;
            continue;
        }
        i++;
        if (++m->matched < m->delimiter_n)
            continue;
        *ok = content(m, str_sub(data, 0, i - (m->matched - m->supposed - m->held)));
        if (*ok && m->state == STATE_DATA)
            *ok = m->callbacks->on_part_end(m->arg);
        m->state = STATE_BEHIND;
        m->matched = m->supposed = m->held = m->blanks = 0;
        return i;
    }
    size_t open = m->matched - m->supposed - m->held; /* of this piece */
    *ok = content(m, str_sub(data, 0, data.n - open));
    m->held += open;
    return data.n;
}

/* ---- what stands behind a boundary ---- */

static bool malformed(struct multipart *m, struct err **e)
{
    m->state = STATE_BAD;
    return err_set(e, ERR_INVALID, "the form data has a malformed boundary");
}

static bool part_begin(struct multipart *m, struct err **e)
{
    if (++m->parts > MULTIPART_PARTS_MAX) {
        m->state = STATE_BAD;
        return err_set(e, ERR_TOO_LARGE, "the form data has too many parts");
    }
    m->state = STATE_HEAD;
    buf_clear(&m->head);
    return true;
}

static bool feed_boundary(struct multipart *m, char c, struct err **e)
{
    switch (m->state) {
    case STATE_DASH:
        if (c != '-')
            return malformed(m, e);
        m->state = STATE_EPILOGUE;
        return true;
    case STATE_LINE_END: return c == '\n' ? part_begin(m, e) : malformed(m, e);
    default: break;
    }
    if (c == '-' && m->state == STATE_BEHIND) {
        m->state = STATE_DASH;
    } else if (c == '\r') {
        m->state = STATE_LINE_END;
    } else if ((c == ' ' || c == '\t') && m->blanks++ < MULTIPART_PREAMBLE_MAX) {
        m->state = STATE_BLANKS;
    } else {
        return malformed(m, e);
    }
    return true;
}

/* ---- feeding ---- */

bool multipart_feed(struct multipart *m, struct str data, struct err **e)
{
    bool ok = m->state != STATE_BAD;
    while (ok && data.n > 0 && m->state != STATE_EPILOGUE) {
        size_t n = 1;
        switch (m->state) {
        case STATE_PREAMBLE:
            n = feed_content(m, data, &ok);
            m->blanks += n;
            if (m->state == STATE_PREAMBLE && m->blanks > MULTIPART_PREAMBLE_MAX)
                ok = malformed(m, e);
            break;
        case STATE_DATA: n = feed_content(m, data, &ok); break;
        case STATE_HEAD: n = feed_head(m, data, &ok, e); break;
        default: ok = feed_boundary(m, data.p[0], e); break;
        }
        data = str_sub(data, n, data.n);
    }
    if (!ok)
        m->state = STATE_BAD;
    return ok;
}

bool multipart_end(const struct multipart *m, struct err **e)
{
    if (m->state == STATE_EPILOGUE)
        return true;
    return err_set(e, ERR_INVALID, "the form data ends before its last boundary");
}
