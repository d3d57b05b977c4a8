#include "bash/internal.h"

struct bash *bash_new(const struct bash_config *config)
{
    struct bash *b = xcalloc(1, sizeof(*b));
    struct uuid owner = uuid_random();
    b->config = *config;
    b->config.working_dir = (struct str){str_dup(config->working_dir), config->working_dir.n};
    uuid_hex(&owner, b->owner);
    b->last = &b->first;
    return b;
}

void close_check(struct bash *b)
{
    if (!b->closing || !b->closed || b->commands || b->committing || b->clearing || b->first ||
        b->stage == STAGE_OPENING)
        return;
    void (*closed)(void *) = steal(b->closed);
    closed(b->closed_arg);
}

void bash_close(struct bash *b, void (*done)(void *arg), void *arg)
{
    b->closing = true;
    b->closed = done;
    b->closed_arg = arg;
    for (struct command *c = b->commands, *next; c; c = next) {
        next = c->next;
        command_cancel(c);
    }
    if (b->retry) { /* the last attempt */
        loop_timer_cancel(b->config.loop, b->retry);
        b->retry = 0;
        queue_pump(b);
    }
    close_check(b);
}

void bash_free(struct bash *b)
{
    if (!b)
        return;
    free((char *)b->config.working_dir.p);
    free(b);
}
