/* environment: which variables of its surroundings a hand passes on to what it starts. Whoever starts a hand gives it no
 * others, and the hand, which may have been started by somebody else, takes no others. */
#pragma once
#include "base/str.h"

/* `pair`: NAME=value. */
bool wire_environment_allows(struct str pair);
