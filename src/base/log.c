#include "base/log.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/utf8.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* Longest text of one message; the rest is cut. */
#define LOG_TEXT_MAX 8192
/* Longest request target that is shown. */
#define LOG_TARGET_MAX 1024

static atomic_int log_level = LOG_INFO;
/* Keeps lines whole that are longer than what one write passes on undivided. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static log_sink sink; /* under the lock; NULL: standard error */

void log_set_sink(log_sink to)
{
    pthread_mutex_lock(&log_lock);
    sink = to;
    pthread_mutex_unlock(&log_lock);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* Control characters could forge lines or drive a terminal. */
static void add_escaped(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n')
            buf_add(out, STR("\\n"));
        else if (is_control(s.p[i]) && s.p[i] != '\t')
            buf_addf(out, "\\x%02x", (unsigned char)s.p[i]);
        else
            buf_add_char(out, s.p[i]);
    }
}

void log_write(enum log_level level, const char *fmt, ...)
{
    static const char *const names[] = {
        [LOG_ERROR] = "error",
        [LOG_WARN] = "warning",
        [LOG_INFO] = "info",
        [LOG_DEBUG] = "debug",
    };
    if (!log_enabled(level))
        return;
    autobuf text = {0};
    autobuf line = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);

    char time[CLOCK_TEXT_MAX];
    buf_addf(&line, "%s %s: ", clock_format_utc(clock_wall_us(), time).p, names[level]);
    size_t head = line.n;
    struct str shown = utf8_prefix_bytes(buf_str(&text), LOG_TEXT_MAX);
    add_escaped(&line, str_trim_right(shown));
    if (shown.n < text.n)
        buf_add(&line, STR(" ..."));

    pthread_mutex_lock(&log_lock);
    if (sink) {
        sink(level, str_sub(buf_str(&line), head, line.n));
    } else {
        buf_add_char(&line, '\n');
        fd_write_all(STDERR_FILENO, buf_str(&line), NULL);
    }
    pthread_mutex_unlock(&log_lock);
}

static void add_target_part(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (is_control(s.p[i]) || (unsigned char)s.p[i] >= 0x80)
            buf_addf(out, "\\x%02x", (unsigned char)s.p[i]);
        else
            buf_add_char(out, s.p[i]);
    }
}

void log_mask_query(struct buf *out, struct str target)
{
    bool cut = target.n > LOG_TARGET_MAX;
    target = str_sub(target, 0, LOG_TARGET_MAX);
    ssize_t mark = str_find_char(target, '?');
    add_target_part(out, str_sub(target, 0, mark < 0 ? target.n : (size_t)mark));
    if (mark >= 0) {
        struct str rest = str_sub(target, (size_t)mark + 1, target.n), part;
        char before = '?';
        while (str_split(&rest, '&', &part)) {
            buf_add_char(out, before);
            before = '&';
            /* A part without a name may be a bare key. */
            ssize_t equals = str_find_char(part, '=');
            if (equals >= 0)
                add_target_part(out, str_sub(part, 0, (size_t)equals + 1));
            if (part.n > 0)
                buf_add_char(out, '*');
        }
    }
    if (cut)
        buf_add(out, STR("..."));
}
