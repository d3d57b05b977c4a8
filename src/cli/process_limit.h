/* process_limit: how many processes the container around us allows. */
#pragma once
#include <stddef.h>

/* Runs that may act at once under the pid limit of our cgroup (each takes up to PROCESSES_PER_RUN processes: hand, keeper,
 * shell, command); 0 when there is no limit. Read once, at the start. */
#define PROCESSES_PER_RUN 4
#define PROCESSES_RESERVED 16 /* the server's own threads count, too */
size_t process_limit_runs(void);
