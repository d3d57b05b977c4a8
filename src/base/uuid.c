#include "base/uuid.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* Ids of one thread come out of a small stock, one system call for many. */
#define STOCK_IDS 16

static const char hex_digits[] = "0123456789abcdef";

void random_bytes(void *out, size_t n)
{
    char *to = out;
    while (n > 0) {
        ssize_t got = getrandom(to, n, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            perror("getrandom");
            abort();
        }
        to += got;
        n -= (size_t)got;
    }
}

/* A fork inherits its parent's stock; the number of forks tells it to fetch its own. */
static atomic_uint fork_count;

static void on_fork(void)
{
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, on_fork);
}

struct uuid uuid_random(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static _Thread_local struct {
        struct uuid ids[STOCK_IDS];
        unsigned left, forks;
    } stock;

    unsigned forks = atomic_load_explicit(&fork_count, memory_order_relaxed);
    if (stock.left == 0 || stock.forks != forks) {
        pthread_once(&once, watch_forks);
        random_bytes(stock.ids, sizeof(stock.ids));
        stock.left = STOCK_IDS;
        stock.forks = forks;
    }
    struct uuid id = stock.ids[--stock.left];
    id.b[6] = (id.b[6] & 0x0f) | 0x40; /* version 4 */
    id.b[8] = (id.b[8] & 0x3f) | 0x80; /* the variant of RFC 9562 */
    return id;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_dash_place(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

bool uuid_parse(struct str text, struct uuid *out)
{
    if (str_starts_nocase(text, STR("urn:uuid:")))
        text = str_sub(text, 9, text.n);
    else if (text.n > 2 && text.p[0] == '{' && text.p[text.n - 1] == '}')
        text = str_sub(text, 1, text.n - 1);
    bool dashed = text.n == UUID_DASHED_LEN;
    if (!dashed && text.n != UUID_HEX_LEN)
        return false;
    struct uuid id = {{0}};
    size_t digit = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (dashed && is_dash_place(i)) {
            if (text.p[i] != '-')
                return false;
            continue;
        }
        int value = hex_value(text.p[i]);
        if (value < 0)
            return false;
        id.b[digit / 2] |= (uint8_t)(digit % 2 ? value : value << 4);
        digit++;
    }
    *out = id;
    return true;
}

struct str uuid_hex(const struct uuid *id, char out[UUID_HEX_LEN + 1])
{
    for (size_t i = 0; i < sizeof(id->b); i++) {
        out[2 * i] = hex_digits[id->b[i] >> 4];
        out[2 * i + 1] = hex_digits[id->b[i] & 15];
    }
    out[UUID_HEX_LEN] = '\0';
    return str_make(out, UUID_HEX_LEN);
}

struct str uuid_dashed(const struct uuid *id, char out[UUID_DASHED_LEN + 1])
{
    size_t at = 0;
    for (size_t i = 0; i < sizeof(id->b); i++) {
        if (is_dash_place(at))
            out[at++] = '-';
        out[at++] = hex_digits[id->b[i] >> 4];
        out[at++] = hex_digits[id->b[i] & 15];
    }
    out[at] = '\0';
    return str_make(out, at);
}

bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool uuid_is_zero(const struct uuid *a)
{
    return uuid_eq(a, &(struct uuid){{0}});
}
