/* environment: what handsd was started with. All variables are copied once, before threads start; those that look like
 * secrets are then overwritten in the process's own memory (where /proc shows them) and taken out of `environ`, so that
 * no child inherits them. Afterwards nothing changes: any thread may read. */
#pragma once
#include "base/str.h"
#include <stdbool.h>

void environment_take(void);
const char *environment_value(const char *name); /* NULL when not set or empty */
/* Every variable that begins with `prefix`, in no order. False at the end; `*cursor` starts at 0. */
bool environment_next(struct str prefix, size_t *cursor, struct str *name, struct str *value);
