#include "workspace/address.h"
#include "base/cleanup.h"
#include "workspace/internal.h"
#include <netinet/in.h>
#include <sys/socket.h>

#define PORTS_FIRST 50000 /* the ranges of the documents: 50000 to 54999 and 55000 to 59999 */
#define PORTS_EACH 5000
#define PORTS_END (PORTS_FIRST + HAND_APP_PORTS * PORTS_EACH)
#define BOOK_MAX (HANDS_MAX + 256) /* hands that are remembered; those that do not run are forgotten first */
#define PROBES_MAX 200             /* ports that are looked at for one hand: the loop waits meanwhile */

struct entry {
    struct uuid id;
    int ports[HAND_APP_PORTS]; /* 0: none was free */
};

struct address_book {
    struct map *by_id; /* the 16 bytes of an id → struct entry */
    uint8_t taken[(PORTS_END - PORTS_FIRST + 7) / 8];
};

struct address_book *address_book_new(void)
{
    struct address_book *b = xcalloc(1, sizeof(*b));
    b->by_id = map_new();
    return b;
}

void address_book_free(struct address_book *b)
{
    size_t cursor = 0;
    void *entry;
    if (!b)
        return;
    while (map_next(b->by_id, &cursor, NULL, &entry))
        free(entry);
    map_free(b->by_id);
    free(b);
}

/* ---- ports ---- */

static bool bind_any(int family, int port)
{
    int yes = 1;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    autofd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return family == AF_INET6; /* a machine without it */
    /* As servers do: what is left of closed connections is no hindrance. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (family == AF_INET)
        return bind(fd, (const struct sockaddr *)&v4, sizeof(v4)) == 0;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
    return bind(fd, (const struct sockaddr *)&v6, sizeof(v6)) == 0;
}

/* On every address: who listens on one of them has it. */
bool port_is_free(int port)
{
    return bind_any(AF_INET, port) && bind_any(AF_INET6, port);
}

int port_find(int first, int end)
{
    uint32_t random;
    int n = end - first;
    random_bytes(&random, sizeof(random));
    for (int i = 0; i < n && i < PROBES_MAX; i++) {
        int port = first + (int)((random + (uint32_t)i) % (uint32_t)n);
        if (port_is_free(port))
            return port;
    }
    return 0;
}

static bool is_taken(const struct address_book *b, int port)
{
    int bit = port - PORTS_FIRST;
    return b->taken[bit / 8] & 1u << bit % 8;
}

static void take(struct address_book *b, int port, bool taken)
{
    int bit = port - PORTS_FIRST;
    if (taken)
        b->taken[bit / 8] |= (uint8_t)(1u << bit % 8);
    else
        b->taken[bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

/* The search begins where the id says, so that a hand has the same ports after the server's restart, too. */
static int port_choose(struct address_book *b, const struct uuid *id, int n)
{
    int first = PORTS_FIRST + n * PORTS_EACH;
    uint32_t start;
    memcpy(&start, id->b + 8 + 4 * (n % 2), sizeof(start));
    for (int i = 0; i < PROBES_MAX; i++) {
        int port = first + (int)((start % PORTS_EACH + (uint32_t)i) % PORTS_EACH);
        if (is_taken(b, port) || !port_is_free(port))
            continue;
        take(b, port, true);
        return port;
    }
    return 0;
}

/* ---- the book ---- */

static struct str id_key(const struct uuid *id)
{
    return str_make(id->b, sizeof(id->b));
}

static void entry_forget(struct address_book *b, struct entry *entry)
{
    map_remove(b->by_id, id_key(&entry->id));
    for (int i = 0; i < HAND_APP_PORTS; i++)
        if (entry->ports[i])
            take(b, entry->ports[i], false);
    free(entry);
}

/* There is one more entry than hands can run, so one that does not run is found. */
static void make_room(struct hands *h)
{
    struct entry *idle = NULL;
    size_t cursor = 0;
    void *value;
    if (map_count(h->addresses->by_id) < BOOK_MAX)
        return;
    while (!idle && map_next(h->addresses->by_id, &cursor, NULL, &value))
        if (!hand_find(h, &((struct entry *)value)->id))
            idle = value;
    if (idle)
        entry_forget(h->addresses, idle);
}

/* While a hand runs, what it was told holds; otherwise what others have taken since then is replaced. */
static struct entry *entry_get(struct hands *h, const struct uuid *id)
{
    struct address_book *b = h->addresses;
    struct entry *entry = map_get(b->by_id, id_key(id));
    if (entry && hand_find(h, id))
        return entry;
    if (!entry) {
        make_room(h);
        entry = xcalloc(1, sizeof(*entry));
        entry->id = *id;
        map_put(b->by_id, id_key(id), entry);
    }
    for (int i = 0; i < HAND_APP_PORTS; i++) {
        if (entry->ports[i] && port_is_free(entry->ports[i]))
            continue;
        if (entry->ports[i])
            take(b, entry->ports[i], false);
        entry->ports[i] = port_choose(b, id, i);
    }
    return entry;
}

void address_environment(struct hands *h, const struct uuid *id, struct buf *fields)
{
    static const char *const names[] = {"APP_PORT", "WORKER"};
    const struct entry *entry = entry_get(h, id);
    for (int i = 0; i < HAND_APP_PORTS; i++) {
        for (size_t n = 0; n < ARRAY_LEN(names) && entry->ports[i]; n++) {
            autobuf pair = {0};
            buf_addf(&pair, "%s_%d=%d", names[n], i + 1, entry->ports[i]);
            wire_add_str(fields, F_ENV, buf_str(&pair));
        }
    }
}

/* ---- the question ---- */

struct question {
    struct loop_message message;
    struct hands *hands;
    struct uuid id;
    void (*done)(void *arg, const struct hand_address *address);
    void *arg;
};

static void question_answer(struct loop_message *m)
{
    struct question *q = CONTAINER_OF(m, struct question, message);
    const struct entry *entry = entry_get(q->hands, &q->id);
    struct hand_address address = {.host = str_from(q->hands->host)};
    for (int i = 0; i < HAND_APP_PORTS; i++)
        if (entry->ports[i])
            address.app_ports[address.app_port_count++] = entry->ports[i];
    q->done(q->arg, &address);
    free(q);
}

void hand_address(struct hands *h, const struct uuid *id,
                  void (*done)(void *arg, const struct hand_address *address), void *arg)
{
    struct question *q = xcalloc(1, sizeof(*q));
    *q = (struct question){.hands = h, .id = *id, .done = done, .arg = arg};
    q->message.run = question_answer;
    loop_post(h->loop, &q->message);
}
