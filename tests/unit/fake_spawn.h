/* fake_spawn: processes of fake_hands. A process does what the test says. They are named by the number of their call, and
 * found by their command. What is said arrives on the loop, as it does from a hand. */
#pragma once
#include "workspace/hand.h"

uint64_t fake_spawn_find(struct hands *h,
                         const char *command); /* the latest whose command contains it; 0: none */
unsigned fake_spawn_count(struct hands *h);
const char *fake_spawn_cwd(struct hands *h, uint64_t call);
int64_t fake_spawn_timeout_ms(struct hands *h, uint64_t call);
/* Bytes that it may still send. Saying more is the test's mistake. */
size_t fake_spawn_credit(struct hands *h, uint64_t call, enum wire_stream stream);
bool fake_spawn_cancelled(struct hands *h, uint64_t call); /* it ends as one that was */
void fake_spawn_say(struct hands *h, uint64_t call, enum wire_stream stream, struct str text);
void fake_spawn_end(struct hands *h, uint64_t call, enum wire_status status, int64_t exit_code,
                    const char *message);
void fake_spawn_die(struct hands *h, uint64_t call); /* its hand has died */

/* fake_hands.c */
uint64_t fake_spawn_begin(struct hands *h, struct loop *loop, struct str fields,
                          const struct hand_callbacks *callbacks, void *arg);
void fake_spawn_give(struct hands *h, uint64_t call, enum wire_stream stream, uint32_t bytes);
void fake_spawn_forget(struct hands *h);
void fake_spawn_cancel(struct hands *h, uint64_t call);
