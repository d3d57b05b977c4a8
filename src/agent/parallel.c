/* Running jobs side by side. The run's thread only hands out work: each job has a short-lived thread with a mailbox of its
 * own, in which its tool waits as if it were alone. */
#include "agent/internal.h"
#include "base/thread.h"

struct lane {
    struct mail mail; /* first; posted to the run's mailbox when the job is done */
    struct job *job;
    struct agent_host host; /* the step's, with a mailbox of the lane's own */
    struct mailbox *report;
    struct arena *arena;
    struct buf resource; /* empty: uses nothing that others could */
    bool running, done;
};

static void mail_keep(struct mail *m)
{
    (void)m; /* lanes belong to the batch, which outlives its mail */
}

static void lane_main(void *arg)
{
    struct lane *lane = arg;
    struct mailbox *report = lane->report;
    job_run(lane->job);
    mailbox_post(report, &lane->mail); /* the lane's last use */
    mailbox_unref(report);
}

static bool resources_clash(struct str a, struct str b)
{
    if (a.n == 0 || b.n == 0)
        return false;
    if (str_is(a, "file:*"))
        return str_starts(b, STR("file:"));
    if (str_is(b, "file:*"))
        return str_starts(a, STR("file:"));
    return str_eq(a, b);
}

static void lane_init(struct lane *lane, struct job *job, const struct agent_host *host)
{
    const struct tool *tool = job->tool;
    lane->job = job;
    lane->arena = arena_new();
    lane->host = *host;
    lane->host.mailbox = mailbox_new();
    lane->host.append = NULL; /* these belong to the run's thread */
    lane->host.delta = NULL;
    job->execution.run.host = &lane->host;
    job->execution.run.arena = lane->arena;
    job->execution.run.action = job->action.action;
    if (tool->resource)
        tool->resource(&job->execution.run, &lane->resource);
    else if (!tool->read_only)
        buf_addf(&lane->resource, "tool:%s", tool->name);
}

/* A job may begin when nothing in front of it that is not done uses the same. */
static bool lane_ready(const struct lane *lanes, size_t index)
{
    if (lanes[index].running || lanes[index].done)
        return false;
    for (size_t i = 0; i < index; i++)
        if (!lanes[i].done && resources_clash(buf_str(&lanes[i].resource), buf_str(&lanes[index].resource)))
            return false;
    return true;
}

static void lane_start(struct lane *lane, struct mailbox *report, uint64_t tag)
{
    autoerr e = NULL;
    lane->mail = (struct mail){.tag = tag, .free = mail_keep};
    lane->report = mailbox_ref(report);
    lane->running = true;
    if (thread_start(NULL, "tool", THREAD_STACK_BYTES, lane_main, lane, &e))
        return;
    lane_main(lane); /* no thread to be had: here, then */
}

static void lane_deinit(struct lane *lane)
{
    mailbox_close(lane->host.mailbox);
    mailbox_unref(lane->host.mailbox);
    buf_deinit(&lane->resource);
    arena_free(lane->arena);
}

/* A later call of the same batch sees that its shell is not new. */
static void terminal_was_used(struct lane *lanes, size_t n, const struct job *by)
{
    for (size_t i = 0; by->ok && by->tool == &tool_terminal && i < n; i++)
        if (!lanes[i].running && !lanes[i].done)
            lanes[i].job->execution.terminal_seen = true;
}

struct batch {
    struct lane *lanes;
    size_t n, limit, running;
    struct mailbox *mailbox; /* of the run */
    uint64_t tag;            /* of the lanes' reports */
    bool cancelled;
};

static void batch_start(struct batch *b)
{
    for (size_t i = 0; i < b->n && b->running < b->limit && !b->cancelled; i++) {
        if (!lane_ready(b->lanes, i))
            continue;
        b->running++;
        lane_start(&b->lanes[i], b->mailbox, b->tag);
    }
}

/* Waits for one report. A cancel goes to every lane; their reports are waited for all the same, since a tool ends within
 * a second of it. */
static void batch_wait(struct batch *b)
{
    struct mail *mail = NULL;
    if (mailbox_wait(b->mailbox, b->tag, 0, !b->cancelled, &mail) != MAILBOX_MAIL) {
        b->cancelled = true;
        for (size_t i = 0; i < b->n; i++)
            if (b->lanes[i].running)
                mailbox_cancel(b->lanes[i].host.mailbox);
        return;
    }
    struct lane *lane = CONTAINER_OF(mail, struct lane, mail);
    lane->running = false;
    lane->done = true;
    b->running--;
    terminal_was_used(b->lanes, b->n, lane->job);
}

static void jobs_run_beside(struct job *const *jobs, size_t n, size_t limit, const struct agent_host *host)
{
    struct batch b = {.lanes = xcalloc(n, sizeof(struct lane)),
                      .n = n,
                      .limit = limit,
                      .mailbox = host->mailbox,
                      .tag = mailbox_tag(host->mailbox),
                      .cancelled = mailbox_cancelled(host->mailbox)};
    for (size_t i = 0; i < n; i++)
        lane_init(&b.lanes[i], jobs[i], host);
    batch_start(&b);
    while (b.running > 0) {
        batch_wait(&b);
        batch_start(&b);
    }
    for (size_t i = 0; i < n; i++)
        lane_deinit(&b.lanes[i]);
    free(b.lanes);
}

void jobs_run(struct job *const *jobs, size_t n, size_t limit, const struct agent_host *host)
{
    bool terminal_seen = false;
    if (n > 1 && limit > 1) {
        jobs_run_beside(jobs, n, limit, host);
        return;
    }
    for (size_t i = 0; i < n && !mailbox_cancelled(host->mailbox); i++) {
        struct job *j = jobs[i];
        j->execution.terminal_seen |= terminal_seen;
        job_run(j);
        terminal_seen |= j->ok && j->tool == &tool_terminal;
        if (j->interrupted)
            break;
    }
}
