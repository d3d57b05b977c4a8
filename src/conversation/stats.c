/* stats: sums of model usage per usage id. Immutable; each model call makes a new one. */
#include "conversation/state.h"

struct stats *stats_ref(struct stats *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void stats_unref(struct stats *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->n; i++) {
        free((char *)s->at[i].usage_id.p);
        free((char *)s->at[i].model.p);
        free((char *)s->at[i].response_id.p);
    }
    free(s);
}

static struct stats *stats_alloc(size_t n)
{
    struct stats *s = xcalloc(1, sizeof *s + n * sizeof s->at[0]);
    s->refs = 1;
    s->n = n;
    return s;
}

static struct str own(struct str s)
{
    return (struct str){str_dup(s), s.n};
}

struct stats *stats_from_sums(const struct store_usage_sum *sums, size_t n)
{
    struct stats *s = stats_alloc(n);
    for (size_t i = 0; i < n; i++) {
        const struct store_usage_sum *u = &sums[i];
        s->serial += (uint64_t)u->calls;
        s->at[i] = (struct usage_total){
            .usage_id = own(u->usage_id),
            .model = own(u->model),
            .response_id = own(u->last_response_id),
            .cost = u->cost,
            .prompt = u->prompt,
            .completion = u->completion,
            .cache_read = u->cache_read,
            .cache_write = u->cache_write,
            .reasoning = u->reasoning,
            .context_window = u->context_window,
            .per_turn = u->last_prompt + u->last_completion,
        };
    }
    return s;
}

struct stats *stats_add(const struct stats *old, struct str usage_id, struct str model,
                        const struct llm_usage *usage)
{
    size_t at = 0;
    while (at < old->n && !str_eq(old->at[at].usage_id, usage_id))
        at++;
    struct stats *s = stats_alloc(at < old->n ? old->n : old->n + 1);
    s->serial = old->serial + 1;
    for (size_t i = 0; i < old->n; i++) {
        s->at[i] = old->at[i];
        s->at[i].usage_id = own(old->at[i].usage_id);
        if (i == at)
            continue;
        s->at[i].model = own(old->at[i].model);
        s->at[i].response_id = own(old->at[i].response_id);
    }
    struct usage_total *t = &s->at[at];
    if (at == old->n)
        t->usage_id = own(usage_id);
    t->model = own(model);
    t->response_id = own(usage->response_id);
    t->cost += usage->cost;
    t->prompt += usage->prompt_tokens;
    t->completion += usage->completion_tokens;
    t->cache_read += usage->cache_read_tokens;
    t->cache_write += usage->cache_write_tokens;
    t->reasoning += usage->reasoning_tokens;
    if (usage->context_window > t->context_window)
        t->context_window = usage->context_window;
    t->per_turn = usage->prompt_tokens + usage->completion_tokens;
    return s;
}

static void write_metrics(const struct usage_total *t, bool lists, struct json_writer *w)
{
    jw_object(w);
    jw_member_str(w, "model_name", t->model);
    jw_member_float(w, "accumulated_cost", t->cost);
    jw_member_null(w, "max_budget_per_task");
    jw_key(w, "accumulated_token_usage");
    jw_object(w);
    jw_member_str(w, "model", t->model);
    jw_member_int(w, "prompt_tokens", t->prompt);
    jw_member_int(w, "completion_tokens", t->completion);
    jw_member_int(w, "cache_read_tokens", t->cache_read);
    jw_member_int(w, "cache_write_tokens", t->cache_write);
    jw_member_int(w, "reasoning_tokens", t->reasoning);
    jw_member_int(w, "context_window", t->context_window);
    jw_member_int(w, "per_turn_token", t->per_turn);
    jw_member_str(w, "response_id", t->response_id.p ? t->response_id : STR(""));
    jw_object_end(w);
    if (lists) { /* one entry per call would make every GET grow with the conversation; the table `usage` has them */
        jw_member_raw(w, "costs", STR("[]"));
        jw_member_raw(w, "response_latencies", STR("[]"));
        jw_member_raw(w, "token_usages", STR("[]"));
    }
    jw_object_end(w);
}

void stats_write_sum(const struct stats *s, struct json_writer *w)
{
    struct usage_total sum = {0};
    if (s->n == 0) {
        jw_null(w);
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        const struct usage_total *t = &s->at[i];
        sum.cost += t->cost;
        sum.prompt += t->prompt;
        sum.completion += t->completion;
        sum.cache_read += t->cache_read;
        sum.cache_write += t->cache_write;
        sum.reasoning += t->reasoning;
        if (sum.context_window < t->context_window)
            sum.context_window = t->context_window;
    }
    sum.model = s->at[0].model;
    sum.per_turn = s->at[0].per_turn;
    sum.response_id = s->at[0].response_id;
    write_metrics(&sum, false, w);
}

void stats_write(const struct stats *s, bool lists, struct json_writer *w)
{
    jw_object(w);
    jw_key(w, "usage_to_metrics");
    jw_object(w);
    for (size_t i = 0; i < s->n; i++) {
        jw_key_str(w, s->at[i].usage_id);
        write_metrics(&s->at[i], lists, w);
    }
    jw_object_end(w);
    jw_object_end(w);
}
