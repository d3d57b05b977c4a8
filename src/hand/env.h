/* env: the environment of what the hand starts, and the few facts about this machine that need no name service:
 * static glibc would load foreign modules for those, so /etc/passwd is read here. */
#pragma once
#include "base/buf.h"
#include "hand/call.h"

/* The line of /etc/passwd for a user id. Empty strings where nothing is known. */
struct account {
    struct buf name, home, shell;
};
void account_find(struct account *a, uid_t uid);
void account_deinit(struct account *a);

/* Builds hand_environment() from the hand's own allow-list and the F_ENV fields of the mind's HELLO. */
void environment_set(struct hand *h, struct str hello);
void environment_free(char **environment);
/* A copy of `base` with the F_ENV fields of `fields` put on top; ill-formed ones are left out. */
char **environment_with(char *const *base, struct str fields);
/* Value of a name, or NULL. */
const char *environment_get(char *const *environment, const char *name);
/* First executable regular file `name` of the environment's PATH, as a path in `out`. */
bool environment_program(char *const *environment, const char *name, struct buf *out);
