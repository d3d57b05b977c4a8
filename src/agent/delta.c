/* Streamed text on its way to clients. Pieces end anywhere, so what could be the beginning of a secret waits for more. */
#include "agent/internal.h"

void delta_mask_init(struct delta_mask *d, const struct agent_host *host)
{
    *d = (struct delta_mask){.host = host};
    /* Counted, and only counted: the set itself never changes. */
    d->mask = mask_ref((struct mask *)host->mask(host->arg));
}

void delta_mask_deinit(struct delta_mask *d)
{
    mask_unref(d->mask);
    buf_deinit(&d->content);
    buf_deinit(&d->reasoning);
}

static void give(struct delta_mask *d, struct str content, struct str reasoning)
{
    if (content.n > 0 || reasoning.n > 0)
        d->host->delta(d->host->arg, content, reasoning);
}

void delta_mask_add(void *delta_mask, struct str content, struct str reasoning)
{
    struct delta_mask *d = delta_mask;
    autobuf content_out = {0}, reasoning_out = {0};
    if (mask_longest(d->mask) == 0) {
        give(d, content, reasoning);
        return;
    }
    buf_add(&d->content, content);
    buf_add(&d->reasoning, reasoning);
    buf_consume(&d->content, mask_apply_head(d->mask, buf_str(&d->content), &content_out));
    buf_consume(&d->reasoning, mask_apply_head(d->mask, buf_str(&d->reasoning), &reasoning_out));
    give(d, buf_str(&content_out), buf_str(&reasoning_out));
}

void delta_mask_flush(struct delta_mask *d)
{
    autobuf content = {0}, reasoning = {0};
    mask_apply(d->mask, buf_str(&d->content), &content);
    mask_apply(d->mask, buf_str(&d->reasoning), &reasoning);
    delta_mask_reset(d);
    give(d, buf_str(&content), buf_str(&reasoning));
}

void delta_mask_reset(struct delta_mask *d)
{
    buf_clear(&d->content);
    buf_clear(&d->reasoning);
}
