/* fake_hands: workspace/hand.h without processes. Every call is noted; a terminal call answers "ran COMMAND" at once
 * unless it is held. */
#pragma once
#include "workspace/hand.h"

/* Terminal calls whose command contains `text` wait until fake_hands_let (or are cancelled). */
void fake_hands_hold(struct hands *h, const char *text);
void fake_hands_let(struct hands *h);
unsigned fake_hands_held(struct hands *h);
/* Terminal calls that began, in all or of one command. */
unsigned fake_hands_ran(struct hands *h, const char *command);
bool fake_hands_doubled(struct hands *h);                         /* did one idempotency key come twice? */
unsigned fake_hands_ended(struct hands *h);                       /* calls of hand_end */
const char *fake_hands_env(struct hands *h, const char *command); /* F_ENV of the last such call; "" */
