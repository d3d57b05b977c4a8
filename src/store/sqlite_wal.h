/* sqlite_wal: the file layer under SQLite. It is the `unix-excl` one (locks once, keeps the WAL index on the heap: no
 * -shm file, no lock calls per transaction) with two changes for the write-ahead log:
 *
 * - SQLite writes each page as two small writes; here a group's pages are gathered and written as one.
 * - When a write or sync of the log fails, what was not yet synced is cut off, so that a commit that was reported as
 *   failed cannot come back at the next start.
 *
 * Registered once per process; any thread. */
#pragma once
#include <stdbool.h>

#define WAL_VFS "handsd"
#define WAL_VFS_NOSYNC "handsd-nosync" /* never syncs the log: tests and benches of other things */

bool wal_vfs_register(void);
