/* clock: monotonic time for deadlines, wall time for stamps, and ISO 8601 text.
 * Formatting of local time uses the time zone read once at start (clock_init); it takes no lock afterwards. */
#pragma once
#include "base/buf.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

void clock_init(void); /* tzset; call once before threads start */
uint64_t clock_mono_ns(void);
int64_t clock_wall_us(void); /* microseconds since 1970, UTC */

/* Buffer for any of the formats below. */
#define CLOCK_TEXT_MAX 40
/* The same moment as microseconds since 1970 of the local clock face, which goes back when summer time ends. */
int64_t clock_local_us(int64_t us);
/* `2026-08-22T16:34:54.123456` of such a value: naive, fixed width, for events. */
struct str clock_format_naive(int64_t local_us, char out[CLOCK_TEXT_MAX]);
/* `2026-08-22T16:34:54.123456`: naive local time, fixed width, for events. */
struct str clock_format_local(int64_t us, char out[CLOCK_TEXT_MAX]);
/* `2026-08-22T16:34:54.123456Z`: UTC, for ConversationInfo and bash events. */
struct str clock_format_utc(int64_t us, char out[CLOCK_TEXT_MAX]);
/* Reads `YYYY-MM-DD[T ]hh:mm[:ss[.fraction]][Z|±hh[:mm]]` or `YYYY-MM-DD`; without a zone it is local time. */
bool clock_parse(struct str text, int64_t *us);
