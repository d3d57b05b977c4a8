#include "cli/answer.h"
#include <errno.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#define PASTE_MS 50 /* between two lines that are pasted, at most */

static bool is_readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) > 0 && (p.revents & POLLIN);
}

static ssize_t read_some(int fd, struct buf *text)
{
    char piece[4096]; /* the longest line that a terminal gives */
    ssize_t n;
    do
        n = read(fd, piece, sizeof(piece));
    while (n < 0 && errno == EINTR);
    if (n > 0 && text->n + (size_t)n <= ANSWER_MAX)
        buf_add(text, str_make(piece, (size_t)n));
    return n;
}

/* A terminal keeps a line back until it is entered; the beginning of one that was pasted belongs to the answer, and must not
 * be left to the shell. */
static void read_begun(int fd, struct buf *text)
{
    struct termios now, raw;
    if (tcgetattr(fd, &now) != 0 || !(now.c_lflag & ICANON))
        return;
    raw = now;
    raw.c_lflag &= ~(tcflag_t)ICANON;
    raw.c_cc[VMIN] = raw.c_cc[VTIME] = 0;
    if (tcsetattr(fd, TCSANOW, &raw) != 0)
        return;
    while (read_some(fd, text) > 0)
        ;
    tcsetattr(fd, TCSANOW, &now);
}

enum answer answer_read(int fd, struct buf *text)
{
    do
        if (read_some(fd, text) <= 0)
            return text->n > 0 ? ANSWER_ENTERED : ANSWER_END;
    while (is_readable(fd, PASTE_MS));
    read_begun(fd, text);
    return text->n > 0 && text->p[text->n - 1] != '\n' ? ANSWER_MORE : ANSWER_ENTERED;
}
