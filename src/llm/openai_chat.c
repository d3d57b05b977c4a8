/* OpenAI chat completions: the answer. Written for what servers of this shape really send, which is more than the
 * specification allows: missing ids, indexes with gaps or all 0, arguments as objects or null, reasoning under two
 * names, content as a list of parts, errors inside a stream. */
#include "llm/openai_chat.h"

/* A place among the calls for the one `function_call` of older servers. */
#define FUNCTION_CALL_INDEX INT32_MAX

/* --- content ------------------------------------------------------------------------------------- */

static void content_add(struct buf *out, const struct json_value *content)
{
    if (json_type(content) == JSON_STRING) {
        buf_add(out, json_str(content));
        return;
    }
    if (json_type(content) == JSON_ARRAY)
        for (struct json_iter it = json_iter(content); json_next(&it);)
            buf_add(out, json_get_str(it.value, "text"));
}

static void call_add(struct llm_draft *d, int64_t index, const struct json_value *id,
                     const struct json_value *function)
{
    const struct json_value *arguments = json_get(function, "arguments");
    autobuf text = {0};
    struct str given = json_str(arguments);
    if (json_type(arguments) == JSON_OBJECT || json_type(arguments) == JSON_ARRAY) {
        json_add(&text, arguments);
        given = buf_str(&text);
    }
    llm_draft_call_add(d, index, json_str(id), json_get_str(function, "name"), given);
}

/* `whole`: a message, whose calls are separate however they are numbered; otherwise a delta. */
static void message_add(struct llm_draft *d, const struct json_value *message, bool whole)
{
    content_add(&d->text, json_get(message, "content"));
    content_add(&d->refusal, json_get(message, "refusal"));
    const struct json_value *reasoning = json_get(message, "reasoning_content");
    if (json_is_null(reasoning))
        reasoning = json_get(message, "reasoning");
    content_add(&d->reasoning, reasoning);
    for (struct json_iter it = json_iter(json_get(message, "tool_calls")); json_next(&it);) {
        int64_t index = json_get_int(it.value, "index", LLM_NO_INDEX);
        if (index < 0)
            index = LLM_NO_INDEX;
        call_add(d, whole ? (int64_t)it.index : index, json_get(it.value, "id"),
                 json_get(it.value, "function"));
    }
    const struct json_value *function = json_get(message, "function_call"); /* the shape before tools */
    if (json_type(function) == JSON_OBJECT)
        call_add(d, FUNCTION_CALL_INDEX, NULL, function);
}

/* --- usage --------------------------------------------------------------------------------------- */

static int64_t tokens(const struct json_value *v, const char *key)
{
    int64_t n = json_get_int(v, key, 0);
    return n < 0 ? 0 : n;
}

static void usage_read(struct llm_usage *u, const struct json_value *usage)
{
    if (json_type(usage) != JSON_OBJECT)
        return;
    const struct json_value *in = json_get(usage, "prompt_tokens_details");
    const struct json_value *out = json_get(usage, "completion_tokens_details");
    u->prompt_tokens = tokens(usage, "prompt_tokens");
    u->completion_tokens = tokens(usage, "completion_tokens");
    u->reasoning_tokens = tokens(out, "reasoning_tokens");
    u->cache_read_tokens = tokens(in, "cached_tokens");
    if (u->cache_read_tokens == 0)
        u->cache_read_tokens = tokens(usage, "cache_read_input_tokens");
    if (u->cache_read_tokens == 0)
        u->cache_read_tokens = tokens(usage, "prompt_cache_hit_tokens");
    u->cache_write_tokens = tokens(usage, "cache_creation_input_tokens");
    if (u->cache_write_tokens == 0)
        u->cache_write_tokens = tokens(in, "cache_write_tokens");
}

/* --- answers ------------------------------------------------------------------------------------- */

static void text_set(struct buf *b, struct str s)
{
    if (s.n > 0) {
        buf_clear(b);
        buf_add(b, s);
    }
}

static bool error_check(const struct llm *l, const struct json_value *v, struct llm_failure *failure,
                        struct err **e)
{
    const struct json_value *error = json_get(v, "error");
    return json_is_null(error) || llm_fail_object(l, error, failure, e);
}

static void choice_add(struct llm_draft *d, const struct json_value *choice, const struct json_value *message,
                       bool whole)
{
    message_add(d, message, whole);
    struct str reason = json_get_str(choice, "finish_reason");
    text_set(&d->finish_reason, reason);
    d->answered = true;
    d->ended = d->ended || reason.n > 0;
}

static const struct json_value *first(const struct json_value *list)
{
    struct json_iter it = json_iter(list);
    return json_type(list) == JSON_ARRAY && json_next(&it) ? it.value : NULL;
}

static bool openai_chat_event(struct llm_draft *d, const struct llm *l, struct str name, struct str data,
                              const struct json_value *v, struct llm_failure *failure, struct err **e)
{
    (void)name;
    if (!v) {
        if (str_is(str_trim(data), "[DONE]"))
            d->ended = true;
        return true; /* keep-alives and the like */
    }
    if (!error_check(l, v, failure, e))
        return false;
    text_set(&d->id, d->id.n == 0 ? json_get_str(v, "id") : STR_NONE);
    usage_read(&d->usage, json_get(v, "usage"));
    const struct json_value *choice = first(json_get(v, "choices"));
    if (!choice)
        return true; /* the last piece has only usage */
    const struct json_value *delta = json_get(choice, "delta");
    const struct json_value *message = json_get(choice, "message");
    choice_add(d, choice, delta ? delta : message, !delta);
    return true;
}

static bool openai_chat_body(struct llm_draft *d, const struct llm *l, const struct json_value *v,
                             struct llm_failure *failure, struct err **e)
{
    if (!error_check(l, v, failure, e))
        return false;
    text_set(&d->id, json_get_str(v, "id"));
    usage_read(&d->usage, json_get(v, "usage"));
    const struct json_value *choice = first(json_get(v, "choices"));
    const struct json_value *message = json_get(choice, "message");
    if (json_type(message) == JSON_OBJECT)
        choice_add(d, choice, message, true);
    return true;
}

const struct llm_dialect llm_openai_chat = {
    .name = "OpenAI chat completions",
    .path = "/chat/completions",
    .request = openai_chat_request,
    .event = openai_chat_event,
    .body = openai_chat_body,
};
