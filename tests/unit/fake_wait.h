/* fake_wait: how tests wait. Everything that a double sees or does calls fake_changed; a test states the condition that
 * it waits for and looks again at each change. Some conditions (a thread has left) have no event of their own, so there
 * is a slow look besides. Past the deadline the test fails with the condition's text. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void fake_changed(void);
uint64_t fake_serial(void);                              /* number of changes so far */
bool fake_wait_change(uint64_t seen, uint64_t until_ns); /* false: `until_ns` has passed */
uint64_t fake_deadline(void);                            /* of a wait that begins now */
void fake_expired(const char *what, const char *file, int line) __attribute__((noreturn));
/* Called before a wait that expired fails the test: prints what there is to see. May be NULL. */
extern void (*fake_on_expired)(void);

#define AWAIT(condition)                                            \
    do {                                                            \
        uint64_t until_ = fake_deadline(), serial_ = fake_serial(); \
        while (!(condition)) {                                      \
            if (!fake_wait_change(serial_, until_))                 \
                fake_expired(#condition, __FILE__, __LINE__);       \
            serial_ = fake_serial();                                \
        }                                                           \
    } while (0)

/* A gate holds run threads until it is opened; a cancelled mailbox passes it, too. */
struct mailbox;
struct fake_gate;
struct fake_gate *fake_gate_new(void);
void fake_gate_free(struct fake_gate *g);
void fake_gate_close(struct fake_gate *g); /* from now on threads wait */
void fake_gate_open(struct fake_gate *g);  /* lets all through, now and later */
unsigned fake_gate_waiting(struct fake_gate *g);
bool fake_gate_pass(struct fake_gate *g, struct mailbox *mailbox); /* false: cancelled */
