/* mask: the secrets that must not be seen. Immutable and counted, so a run keeps the set it started with until it asks
 * for the newer one. Applied to the whole text before it is cut, saved or sent. */
#pragma once
#include "base/buf.h"

#define MASK_TEXT "<secret-hidden>" /* marker: clients and users look for it */
#define MASK_VALUE_MIN 4            /* shorter values would hide ordinary text; documented */
#define MASK_LINE_MIN 16 /* of a value of several lines, each line this long is hidden on its own, too */

struct mask;

/* Copies. A value is hidden as it is, without white space at its ends, and line by line. */
struct mask *mask_new(const struct str *names, const struct str *values, size_t n);
struct mask *mask_join(const struct mask *a,
                       const struct mask *b); /* the secrets of both; either may be NULL */
struct mask *mask_ref(struct mask *m);
void mask_unref(struct mask *m); /* overwrites the values when it is the last */
/* Adds the masked text; false if nothing hit. */
bool mask_apply(const struct mask *m, struct str text, struct buf *out);
size_t mask_longest(const struct mask *m); /* bytes; 0: nothing is hidden */
size_t mask_count(const struct mask *m);
struct str mask_name(const struct mask *m, size_t i);
struct str mask_value(const struct mask *m, size_t i);
