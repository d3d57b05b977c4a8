#include "conversation/import_cost.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/vec.h"

struct call {
    size_t usage; /* whose it is */
    const struct json_value *tokens, *cost;
};
struct usage { /* of one usage id: a stretch of all calls */
    const struct json_value *metrics;
    size_t first, count, done;
};
struct import_costs {
    VEC(struct call) calls;
    VEC(struct usage) usages;
    VEC(struct store_usage_sum) sums; /* of these, so far */
    struct map *by_id;                /* response id → one of `calls` */
    bool any;
};

static void add_calls(struct import_costs *c, const struct json_value *metrics, struct usage *u)
{
    const struct json_value *costs = json_get(metrics, "costs");
    u->count = json_count(json_get(metrics, "token_usages"));
    /* A call whose price was not known has no cost in the list: then nobody can say whose the others are. */
    struct json_iter cost = json_iter(json_count(costs) == u->count ? costs : NULL);
    for (struct json_iter it = json_iter(json_get(metrics, "token_usages")); json_next(&it);) {
        struct call call = {.usage = c->usages.n, .tokens = it.value};
        if (json_next(&cost))
            call.cost = cost.value;
        vec_push(&c->calls, call);
    }
}

static void name_calls(struct import_costs *c)
{
    for (size_t i = 0; i < c->calls.n; i++) {
        struct str id = json_get_str(c->calls.at[i].tokens, "response_id");
        if (id.n > 0)
            map_put(c->by_id, id, &c->calls.at[i]);
    }
}

struct import_costs *import_costs_new(const struct json_value *state)
{
    struct import_costs *c = xcalloc(1, sizeof(*c));
    const struct json_value *all = json_get(json_get(state, "stats"), "usage_to_metrics");
    c->by_id = map_new();
    for (struct json_iter it = json_iter(json_type(all) == JSON_OBJECT ? all : NULL); json_next(&it);) {
        struct usage u = {.metrics = it.value, .first = c->calls.n};
        add_calls(c, it.value, &u);
        vec_push(&c->usages, u);
        vec_push(&c->sums,
                 (struct store_usage_sum){.usage_id = it.key, .model = json_get_str(it.value, "model_name")});
    }
    name_calls(c);
    return c;
}

void import_costs_free(struct import_costs *c)
{
    if (!c)
        return;
    vec_deinit(&c->calls);
    vec_deinit(&c->usages);
    vec_deinit(&c->sums);
    map_free(c->by_id);
    free(c);
}

static void sum_call(struct store_usage_sum *sum, const struct call *call)
{
    struct store_usage u = {0};
    import_tokens_read(call->tokens, &u);
    double cost = json_get_float(call->cost, "cost", 0);
    sum->calls++;
    sum->cost += cost > 0 ? cost : 0;
    sum->prompt += u.prompt;
    sum->completion += u.completion;
    sum->cache_read += u.cache_read;
    sum->cache_write += u.cache_write;
    sum->reasoning += u.reasoning;
    sum->last_prompt = u.prompt;
    sum->last_completion = u.completion;
    sum->context_window = json_get_int(call->tokens, "context_window", 0);
}

/* Behind the last call everything is known, also what no call of the list has. */
static void sum_all(struct store_usage_sum *sum, const struct json_value *metrics)
{
    struct store_usage u = {0};
    import_tokens_read(json_get(metrics, "accumulated_token_usage"), &u);
    double cost = json_get_float(metrics, "accumulated_cost", 0);
    sum->cost = cost > sum->cost ? cost : sum->cost;
    sum->prompt = u.prompt > sum->prompt ? u.prompt : sum->prompt;
    sum->completion = u.completion > sum->completion ? u.completion : sum->completion;
    sum->cache_read = u.cache_read > sum->cache_read ? u.cache_read : sum->cache_read;
    sum->cache_write = u.cache_write > sum->cache_write ? u.cache_write : sum->cache_write;
    sum->reasoning = u.reasoning > sum->reasoning ? u.reasoning : sum->reasoning;
}

struct stats *import_costs_at(struct import_costs *c, const struct json_value *event)
{
    struct str id = json_get_str(event, "llm_response_id");
    const struct call *call = id.n > 0 ? map_get(c->by_id, id) : NULL;
    if (call) {
        struct usage *u = &c->usages.at[call->usage];
        struct store_usage_sum *sum = &c->sums.at[call->usage];
        while (&c->calls.at[u->first + u->done] <= call) {
            sum_call(sum, &c->calls.at[u->first + u->done++]);
            if (u->done == u->count)
                sum_all(sum, u->metrics);
        }
        c->any = true;
    }
    return c->any ? stats_from_sums(c->sums.at, c->sums.n) : NULL;
}
