/* dir_lock: one owner process per data directory (flock). */
#pragma once
#include "base/err.h"

/* How long a start waits for the lock. A server that is killed while it starts a hand leaves, for some microseconds of
 * running time, a child that has not closed the lock yet; on a busy machine the next start can meet it. */
#define DIR_LOCK_WAIT_MS 500

/* Locks the open directory `fd`; `name` is for the text. ERR_CONFLICT when another process keeps it. */
bool dir_lock(int fd, const char *name, struct err **e);
