#include "cli/notices.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include <stdio.h>
#include <sys/eventfd.h>

#define HELD_MAX (64 * 1024) /* bytes; what comes when so much is held is dropped */

static struct {
    pthread_mutex_t lock; /* inside the log's own */
    struct buf text;
    int fd;
} held = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void add_line(struct buf *out, enum log_level level, struct str text)
{
    buf_addf(out, "%s%.*s\n",
             level == LOG_ERROR  ? "error: "
             : level == LOG_WARN ? "warning: "
                                 : "",
             STR_ARG(text));
}

static void print(enum log_level level, struct str text)
{
    autobuf line = {0};
    buf_add(&line, STR("handsd: "));
    add_line(&line, level, text);
    fd_write_all(STDERR_FILENO, buf_str(&line), NULL);
}

static void hold(enum log_level level, struct str text)
{
    WITH_LOCK(&held.lock)
    if (held.text.n + text.n < HELD_MAX)
        add_line(&held.text, level, text);
    eventfd_write(held.fd, 1);
}

void notices_plain(void)
{
    log_set_sink(print);
}

void notices_hold(void)
{
    held.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (held.fd >= 0)
        log_set_sink(hold);
    else
        notices_plain();
}

int notices_fd(void)
{
    return held.fd;
}

void notices_take(struct buf *out)
{
    eventfd_t count;
    eventfd_read(held.fd, &count);
    WITH_LOCK(&held.lock)
    {
        buf_add(out, buf_str(&held.text));
        buf_clear(&held.text);
    }
}

void notices_release(void)
{
    autobuf text = {0};
    struct str line;
    notices_plain();
    if (held.fd < 0)
        return;
    notices_take(&text);
    close(held.fd);
    held.fd = -1;
    for (struct str rest = buf_str(&text); rest.n > 0 && str_split(&rest, '\n', &line);)
        fprintf(stderr, "handsd: %.*s\n", STR_ARG(line));
    buf_deinit(&held.text);
    held.text = (struct buf){0};
}
