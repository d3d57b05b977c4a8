#include "cli/process_limit.h"
#include "base/fd.h"

#define FILE_MAX 65536

/* Path of our cgroup (version 2): the line "0::/path". */
static bool own_cgroup(struct buf *out)
{
    autobuf text = {0};
    if (!file_read("/proc/self/cgroup", FILE_MAX, &text, NULL))
        return false;
    struct str rest = buf_str(&text), line;
    while (str_split(&rest, '\n', &line))
        if (str_starts(line, STR("0::/"))) {
            buf_add(out, STR("/sys/fs/cgroup"));
            buf_add(out, str_sub(line, 3, line.n));
            return true;
        }
    return false;
}

/* The limit in a pids.max file; false when there is none ("max"). */
static bool read_limit(const char *path, uint64_t *limit)
{
    autobuf text = {0};
    return file_read(path, FILE_MAX, &text, NULL) && str_to_u64(str_trim(buf_str(&text)), limit);
}

size_t process_limit_runs(void)
{
    autobuf path = {0};
    uint64_t limit;
    bool own = own_cgroup(&path);
    buf_add(&path, STR("/pids.max"));
    /* In a container of its own namespace the limit is at the root, in version 1 below its controller. */
    if (!(own && read_limit(path.p, &limit)) && !read_limit("/sys/fs/cgroup/pids.max", &limit) &&
        !read_limit("/sys/fs/cgroup/pids/pids.max", &limit))
        return 0;
    uint64_t runs = limit > PROCESSES_RESERVED ? (limit - PROCESSES_RESERVED) / PROCESSES_PER_RUN : 0;
    return runs > 0 ? (size_t)runs : 1;
}
