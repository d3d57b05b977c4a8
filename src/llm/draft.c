/* Drafts: tool calls arrive in pieces, by an index with gaps, by id, or by neither. */
#include "base/log.h"
#include "base/uuid.h"
#include "llm/provider.h"

#define ID_MAX 4096 /* bytes; a longer id of an answer or a call is replaced by one of our own */

void llm_draft_deinit(struct llm_draft *d)
{
    buf_deinit(&d->text);
    buf_deinit(&d->reasoning);
    buf_deinit(&d->refusal);
    buf_deinit(&d->finish_reason);
    buf_deinit(&d->id);
    for (size_t i = 0; i < d->calls.n; i++) {
        buf_deinit(&d->calls.at[i].id);
        buf_deinit(&d->calls.at[i].name);
        buf_deinit(&d->calls.at[i].arguments);
    }
    vec_deinit(&d->calls);
}

/* Follows the text of a call's arguments piece by piece: asked whether it is complete, it must not be read again. */
static void progress_add(struct llm_progress *p, struct str piece)
{
    for (size_t i = 0; i < piece.n; i++) {
        char c = piece.p[i];
        if (p->in_string) {
            p->in_string = p->escaped || c != '"';
            p->escaped = !p->escaped && c == '\\';
        } else if (c == '"') {
            p->in_string = true;
        } else if (c == '{') {
            p->depth++;
            p->complete = false;
        } else if (c == '}' && p->depth > 0) {
            p->complete = --p->depth == 0;
        }
    }
}

/* The place of the call a piece belongs to; d->calls.n: a new one. Some servers number every call 0 and tell them
 * apart by id and name only; others send neither index nor id after the first piece. */
static size_t call_find(const struct llm_draft *d, int64_t index, struct str id, struct str name)
{
    bool begins = id.n > 0 && name.n > 0;
    for (size_t i = d->calls.n; i-- > 0;) {
        const struct llm_draft_call *c = &d->calls.at[i];
        if (index != LLM_NO_INDEX && c->index != index)
            continue;
        if (index == LLM_NO_INDEX && id.n > 0 && !str_eq(buf_str(&c->id), id))
            continue;
        if (index == LLM_NO_INDEX && id.n == 0 && name.n > 0)
            break;
        if (begins && c->id.n > 0 && !str_eq(buf_str(&c->id), id))
            break;
        /* A name that comes when the arguments are a whole object already belongs to the next call. */
        return id.n == 0 && name.n > 0 && c->progress.complete ? d->calls.n : i;
    }
    return d->calls.n;
}

void llm_draft_call_add(struct llm_draft *d, int64_t index, struct str id, struct str name,
                        struct str arguments)
{
    size_t place = call_find(d, index, id, name);
    if (place == d->calls.n) {
        if (d->calls.n >= LLM_CALLS_MAX) {
            d->calls_dropped++;
            return;
        }
        vec_push(&d->calls, (struct llm_draft_call){.index = index});
    }
    struct llm_draft_call *c = &d->calls.at[place];
    if (c->id.n == 0)
        buf_add(&c->id, id);
    /* A name comes whole; servers that repeat it with every piece send the same. */
    if (c->name.n == 0)
        buf_add(&c->name, name);
    progress_add(&c->progress, arguments);
    c->arguments_bytes += arguments.n;
    if (c->arguments_bytes <= LLM_ARGUMENTS_MAX)
        buf_add(&c->arguments, arguments);
    else
        buf_deinit(&c->arguments);
}

static bool id_taken(const struct llm_call *calls, size_t n, struct str id)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(calls[i].id, id))
            return true;
    return false;
}

static struct str id_make(struct arena *arena, const char *prefix)
{
    struct uuid id = uuid_random();
    char hex[UUID_HEX_LEN + 1];
    uuid_hex(&id, hex);
    return arena_printf(arena, "%s%.24s", prefix, hex);
}

static struct str arguments_finish(const struct llm_draft_call *c, struct arena *arena)
{
    /* No JSON, on purpose: the tool layer tells the model that its arguments could not be read, and why. */
    if (c->arguments_bytes > LLM_ARGUMENTS_MAX)
        return arena_printf(arena, "(%zu bytes of arguments were left out: the limit is %d)",
                            c->arguments_bytes, LLM_ARGUMENTS_MAX);
    struct str text = str_trim(buf_str(&c->arguments));
    return text.n == 0 || str_is(text, "null") ? STR("{}") : arena_str(arena, text);
}

static void calls_finish(struct llm_draft *d, const struct llm *l, struct arena *arena,
                         struct llm_answer *answer)
{
    struct llm_call *calls = arena_alloc(arena, (d->calls.n + 1) * sizeof(*calls));
    for (size_t i = 0; i < d->calls.n; i++) {
        struct str id = buf_str(&d->calls.at[i].id);
        bool usable = id.n > 0 && id.n <= ID_MAX && !id_taken(calls, i, id);
        calls[i].id = usable ? arena_str(arena, id) : id_make(arena, "call_");
        calls[i].name = arena_str(arena, str_trim(buf_str(&d->calls.at[i].name)));
        calls[i].arguments = arguments_finish(&d->calls.at[i], arena);
    }
    answer->calls = calls;
    answer->call_count = d->calls.n;
    if (d->calls_dropped > 0)
        log_warn("llm: an answer of %.*s had more than %d tool calls; the rest was left out",
                 STR_ARG(l->model), LLM_CALLS_MAX);
}

/* Sums over all calls of a conversation stay numbers. */
static struct llm_usage usage_finish(struct llm_usage u)
{
    int64_t *const counts[] = {&u.prompt_tokens, &u.completion_tokens, &u.cache_read_tokens,
                               &u.cache_write_tokens, &u.reasoning_tokens};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        if (*counts[i] > LLM_TOKENS_MAX)
            *counts[i] = LLM_TOKENS_MAX;
    return u;
}

bool llm_draft_finish(struct llm_draft *d, const struct llm *l, struct arena *arena,
                      struct llm_answer *answer, struct llm_failure *failure, struct err **e)
{
    struct str reason = buf_str(&d->finish_reason);
    if (!d->answered)
        return llm_fail(l, "LLMNoResponseError", failure, e, "the answer has no choices");
    if (str_is(reason, "content_filter") && d->text.n == 0 && d->calls.n == 0)
        return llm_fail(l, "LLMContentPolicyViolationError", failure, e,
                        "the answer was withheld by a content filter");
    /* A refusal is an answer in words. */
    struct str text = d->text.n == 0 && d->calls.n == 0 ? buf_str(&d->refusal) : buf_str(&d->text);
    *answer = (struct llm_answer){
        .text = arena_str(arena, text),
        .reasoning = arena_str(arena, buf_str(&d->reasoning)),
        .finish_reason = arena_str(arena, reason),
        .id = d->id.n > 0 && d->id.n <= ID_MAX ? arena_str(arena, buf_str(&d->id))
                                               : id_make(arena, "chatcmpl-"),
        .usage = usage_finish(d->usage),
    };
    calls_finish(d, l, arena, answer);
    answer->usage.context_window = l->context_window;
    answer->usage.response_id = answer->id;
    return true;
}
