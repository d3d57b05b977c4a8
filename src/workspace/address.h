/* address: where people reach what runs in a workspace. Each hand has application ports of its own on its machine: chosen
 * when they are first wanted, told to everything that the hand starts (APP_PORT_1 … and, as newer servers name them,
 * WORKER_1 …), the same as long as the hand lives, and again after its restart where they are still free. No two hands have
 * the same.
 *
 * Threads: the book is the loop's, as hands are; hand_address may be called by any thread. */
#pragma once
#include "base/buf.h"
#include "workspace/hand.h"

#define HAND_APP_PORTS 2

struct hand_address {
    struct str host; /* of the machine, as people name it */
    int app_ports[HAND_APP_PORTS];
    size_t app_port_count; /* 0: all are taken */
};
/* Of a hand whether it runs or not; `done` comes later on the loop, the address valid during the call. */
void hand_address(struct hands *h, const struct uuid *id,
                  void (*done)(void *arg, const struct hand_address *address), void *arg);

/* ---- for the module's own files: loop thread ---- */

struct address_book;
struct address_book *address_book_new(void);
void address_book_free(struct address_book *b);
/* Adds F_ENV fields for a hand that is about to start. */
void address_environment(struct hands *h, const struct uuid *id, struct buf *fields);
/* A port of this machine that is free now, in [first, end), from a random place on; 0: none was found. */
int port_find(int first, int end);
bool port_is_free(int port);
