/* bench_store DIR [SECONDS] [CONVERSATIONS]: durable steps of the store alone. A step is what the server commits for one
 * action: the action before its tool runs, the result after it; each conversation has one commit outstanding. Prints
 * groups, commits and steps per second, the writer's CPU per step, and what the disk's own fdatasync takes. Refuses tmpfs
 * and overlay: figures from there mean nothing. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include "store/store.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <linux/magic.h>

#define EVENT_BYTES 1500
#define STATE_BYTES 600
#define SYNC_PROBES 200

struct conversation {
    int64_t number;
    uint64_t token;
    uint32_t seq;
    struct store_commit commit;
    struct store_event event;
    struct store_usage usage;
    uint64_t submitted_ns;
    struct run *run;
};

struct run {
    struct store *store;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct conversation **ready;
    size_t ready_n, open;
    uint64_t end_ns, commits, failed, wait_ns, wait_max_ns;
    struct bytes *json;
    char state[STATE_BYTES];
};

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, err_text(e));
    exit(1);
}

static void conversation_ready(struct conversation *c)
{
    struct run *r = c->run;
    WITH_LOCK(&r->lock)
    r->ready[r->ready_n++] = c;
    pthread_cond_signal(&r->wake);
}

static void created(void *arg, int64_t number, const struct err *e)
{
    struct conversation *c = arg;
    if (e)
        die("create", e);
    c->number = number;
    conversation_ready(c);
}

static void claimed(void *arg, uint64_t token, const struct err *e)
{
    struct conversation *c = arg;
    if (e)
        die("claim", e);
    c->token = token;
    conversation_ready(c);
}

static void committed(struct store_commit *commit, enum store_result result, const struct err *e)
{
    struct conversation *c = commit->arg;
    struct run *r = c->run;
    if (result != STORE_DONE)
        die("commit", e);
    uint64_t waited = clock_mono_ns() - c->submitted_ns;
    c->seq++;
    WITH_LOCK(&r->lock)
    {
        r->commits++;
        r->wait_ns += waited;
        if (waited > r->wait_max_ns)
            r->wait_max_ns = waited;
    }
    conversation_ready(c);
}

static struct conversation *run_take(struct run *r)
{
    struct conversation *c = NULL;
    WITH_LOCK(&r->lock)
    {
        while (r->ready_n == 0)
            thread_cond_wait(&r->wake, &r->lock, 0);
        c = r->ready[--r->ready_n];
    }
    return c;
}

static void conversation_commit(struct run *r, struct conversation *c)
{
    bool action = c->seq % 2 == 0;
    c->event = (struct store_event){.id = uuid_random(),
                                    .kind = action ? 2 : 3,
                                    .source = action ? 1 : 2,
                                    .time_us = clock_wall_us(),
                                    .on_branch = true,
                                    .json = r->json};
    c->usage = (struct store_usage){.usage_id = STR("agent"),
                                    .model = STR("model"),
                                    .response_id = STR("resp-0123456789"),
                                    .cost = 0.001,
                                    .seconds = 1,
                                    .prompt = 1000,
                                    .completion = 100,
                                    .time_us = c->event.time_us};
    c->commit = (struct store_commit){
        .number = c->number,
        .token = c->token,
        .commit_id = (uint64_t)c->seq << 20 | (uint64_t)c->number,
        .expected_seq = c->seq,
        .events = &c->event,
        .event_count = 1,
        .delta = {.set = STORE_SET_LEAF | STORE_TOUCH | STORE_SET_STATE,
                  .leaf_seq = c->seq,
                  .updated_us = c->event.time_us,
                  .state = {r->state, sizeof(r->state)}},
        .usage = &c->usage,
        .usage_count = action,
        .done = committed,
        .arg = c,
    };
    autoerr e = NULL;
    c->submitted_ns = clock_mono_ns();
    if (!store_commit(r->store, &c->commit, &e))
        die("commit", e);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t sync_p50_ns(const char *dir)
{
    static char block[64 * 1024];
    uint64_t took[SYNC_PROBES];
    char path[4096];
    snprintf(path, sizeof(path), "%s/sync-probe", dir);
    autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        die("cannot write there", NULL);
    for (size_t i = 0; i < SYNC_PROBES; i++) {
        if (pwrite(fd, block, sizeof(block), (off_t)(i * sizeof(block))) < 0)
            die("cannot write there", NULL);
        uint64_t start = clock_mono_ns();
        fdatasync(fd);
        took[i] = clock_mono_ns() - start;
    }
    unlink(path);
    qsort(took, SYNC_PROBES, sizeof(took[0]), compare_u64);
    return took[SYNC_PROBES / 2];
}

static const char *file_system(const char *dir)
{
    struct statfs fs;
    if (statfs(dir, &fs) != 0)
        die("no such directory", NULL);
    switch ((unsigned long)fs.f_type) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC: fprintf(stderr, "bench_store: %s is on tmpfs or overlay\n", dir); exit(2);
    case EXT4_SUPER_MAGIC: return "ext4";
    case XFS_SUPER_MAGIC: return "xfs";
    case BTRFS_SUPER_MAGIC: return "btrfs";
    default: return "other";
    }
}

static void run_report(const char *dir, const struct run *r, const struct store_stats *before,
                       const struct store_stats *after, double seconds, size_t conversations)
{
    double groups = (double)(after->groups - before->groups),
           commits = (double)(after->commits - before->commits);
    double steps = commits / 2;
    printf(
        "{\"bench\":\"store\",\"fs\":\"%s\",\"fdatasync_p50_us\":%.0f,\"conversations\":%zu,\"seconds\":%.2f,"
        "\"groups_per_s\":%.0f,\"commits_per_s\":%.0f,\"steps_per_s\":%.0f,\"commits_per_group\":%.1f,"
        "\"writer_cpu_us_per_step\":%.1f,\"writer_cpu\":%.2f,\"commit_wait_mean_ms\":%.2f,\"commit_wait_max_ms\":%.2f}\n",
        file_system(dir), (double)sync_p50_ns(dir) / 1e3, conversations, seconds, groups / seconds,
        commits / seconds, steps / seconds, commits / groups,
        (double)(after->writer_cpu_ns - before->writer_cpu_ns) / 1e3 / steps,
        (double)(after->writer_cpu_ns - before->writer_cpu_ns) / 1e9 / seconds,
        (double)r->wait_ns / 1e6 / (double)r->commits, (double)r->wait_max_ns / 1e6);
}

static void bench(const char *dir, double seconds, size_t conversations)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/bench_store-%d/handsd.db", dir, (int)getpid());
    autoerr e = NULL;
    struct run r = {.store = store_open(&(struct store_config){.path = path}, &e)};
    if (!r.store)
        die("open", e);
    pthread_mutex_init(&r.lock, NULL);
    thread_cond_init(&r.wake);
    r.ready = xcalloc(conversations, sizeof(*r.ready));
    char text[EVENT_BYTES];
    random_bytes(text, sizeof(text));
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + (unsigned char)text[i] % 26);
    r.json = bytes_new(str_make(text, sizeof(text)));
    memset(r.state, 's', sizeof(r.state));
    struct conversation *all = xcalloc(conversations, sizeof(*all));
    for (size_t i = 0; i < conversations; i++) {
        all[i].run = &r;
        struct store_create create = {
            .id = uuid_random(), .state = {r.state, sizeof(r.state)}, .config = STR("{}")};
        store_create(r.store, &create, created, &all[i]);
    }
    for (size_t i = 0; i < conversations; i++)
        run_take(&r);
    for (size_t i = 0; i < conversations; i++)
        store_claim(r.store, all[i].number, STR("bench"), claimed, &all[i]);
    for (size_t i = 0; i < conversations; i++)
        run_take(&r);
    struct store_stats before, after;
    store_stats_get(r.store, &before);
    uint64_t start = clock_mono_ns(), end = start + (uint64_t)(seconds * 1e9);
    for (size_t i = 0; i < conversations; i++)
        conversation_commit(&r, &all[i]);
    while (clock_mono_ns() < end)
        conversation_commit(&r, run_take(&r));
    for (size_t i = 0; i < conversations; i++)
        run_take(&r);
    store_stats_get(r.store, &after);
    run_report(dir, &r, &before, &after, (double)(clock_mono_ns() - start) / 1e9, conversations);
    store_close(r.store);
    const char *const ends[] = {"", "-wal", "-journal"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        char file[4200];
        snprintf(file, sizeof(file), "%s%s", path, ends[i]);
        unlink(file);
    }
    *strrchr(path, '/') = '\0';
    rmdir(path);
    bytes_unref(r.json);
    free(r.ready);
    free(all);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_store DIR [SECONDS] [CONVERSATIONS]\n");
        return 2;
    }
    file_system(argv[1]);
    long conversations = argc > 3 ? atol(argv[3]) : 32;
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    if (conversations < 1 || conversations > 100000 || !(seconds > 0)) {
        fprintf(stderr, "bench_store: bad arguments\n");
        return 2;
    }
    clock_init();
    bench(argv[1], seconds, (size_t)conversations);
    return 0;
}
