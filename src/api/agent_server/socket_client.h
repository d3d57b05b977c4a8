/* socket_client: what every socket of this dialect has: a key by query, header or first message, messages that wait for
 * their turn, and an end that waits for the jobs under way.
 *
 * A client lives on the loop thread. What may block or take long happens elsewhere, one job at a time per client so that
 * messages keep their order; a client whose socket has closed is freed when its last job has come back. */
#pragma once
#include "api/agent_server/app.h"

#define CLOSE_AUTH 4001
#define CLOSE_MISSING 4004
#define CLOSE_TRY_LATER 1013
#define CLOSE_INTERNAL 1011

enum socket_stage { SOCKET_AUTH, SOCKET_OPENING, SOCKET_ATTACHED, SOCKET_CLOSED };

struct socket_client;

struct socket_kind {
    size_t size; /* of the client's own structure, which begins with struct socket_client */
    /* The key is right. Ends, now or later, by socket_client_attached or socket_client_refuse. */
    void (*open)(struct socket_client *c);
    /* One message; the reference is given. Begins a job that ends with socket_client_leave. */
    void (*message)(struct socket_client *c, struct bytes *text);
    void (*room)(struct socket_client *c);   /* attached, and it can take more */
    void (*closed)(struct socket_client *c); /* it was attached, and its socket has gone */
};

struct socket_client {
    struct api *app;
    const struct socket_kind *kind;
    enum socket_stage stage;
    uint64_t socket, timer;
    struct bytes **waiting; /* a ring of messages; NULL while it is empty */
    size_t waiting_first, waiting_count, waiting_bytes;
    unsigned busy; /* jobs under way, and calls that may close the socket */
};

/* Accepts the upgrade, or refuses a wrong key with 403. `client` (of kind->size bytes, whose own members are set) is
 * copied. */
void socket_client_accept(struct request *r, const struct socket_kind *kind, struct str key,
                          const struct socket_client *client);
/* A job begins and ends. Leaving lets the next message have its turn; the client may be gone afterwards. */
void socket_client_enter(struct socket_client *c);
void socket_client_leave(struct socket_client *c);
void socket_client_attached(struct socket_client *c);
void socket_client_refuse(struct socket_client *c, int code, const char *reason);
/* {"type":"auth",…}: needs no answer, whether or not a key is asked for: clients that have one always send it. */
bool socket_message_is_auth(const struct json_value *v);
