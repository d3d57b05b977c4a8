/* OpenAI chat completions: the request. */
#include "llm/openai_chat.h"

/* Members of litellm_extra_body stand in for ours. */
static bool ours(const struct llm *l, const char *key)
{
    return json_get(l->extra_body, key) == NULL;
}

/* --- content ------------------------------------------------------------------------------------- */

static void text_part(struct json_writer *w, const struct llm *l, const struct llm_part *part)
{
    jw_object(w);
    jw_member_cstr(w, "type", "text");
    jw_member_str(w, "text", part->text);
    if (part->cache_prompt && l->caching) {
        jw_key(w, "cache_control");
        jw_raw(w, STR("{\"type\":\"ephemeral\"}"));
    }
    jw_object_end(w);
}

static void image_part(struct json_writer *w, const struct llm_part *part)
{
    jw_object(w);
    jw_member_cstr(w, "type", "image_url");
    jw_key(w, "image_url");
    jw_object(w);
    jw_member_str(w, "url", part->text);
    jw_object_end(w);
    jw_object_end(w);
}

static size_t parts_count(const struct llm_message *m, int type)
{
    size_t n = 0;
    for (size_t i = 0; i < m->part_count; i++)
        n += (int)m->parts[i].type == type;
    return n;
}

static void text_joined(struct json_writer *w, const struct llm_message *m)
{
    autobuf text = {0};
    for (size_t i = 0; i < m->part_count; i++)
        if (m->parts[i].type == LLM_TEXT) {
            if (text.n > 0)
                buf_add_char(&text, '\n');
            buf_add(&text, m->parts[i].text);
        }
    jw_str(w, buf_str(&text));
}

/* A single text goes as a string, which every server takes; lists only where they say more. */
static bool wants_list(const struct llm *l, const struct llm_message *messages, size_t n)
{
    size_t texts = 0, images = 0, marks = 0;
    for (size_t i = 0; i < n; i++) {
        texts += parts_count(&messages[i], LLM_TEXT);
        images += messages[i].role == LLM_USER && l->vision ? parts_count(&messages[i], LLM_IMAGE) : 0;
        for (size_t k = 0; k < messages[i].part_count; k++)
            marks += messages[i].parts[k].cache_prompt && l->caching;
    }
    return images > 0 || marks > 0 || (texts > 1 && !l->string_content);
}

static void content_write(struct json_writer *w, const struct llm *l, const struct llm_message *messages,
                          size_t n)
{
    jw_key(w, "content");
    if (!wants_list(l, messages, n)) {
        text_joined(w, &messages[0]);
        return;
    }
    jw_array(w);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < messages[i].part_count; k++) {
            const struct llm_part *part = &messages[i].parts[k];
            if (part->type == LLM_TEXT)
                text_part(w, l, part);
            else if (messages[i].role == LLM_USER && l->vision)
                image_part(w, part);
        }
    jw_array_end(w);
}

/* --- messages ------------------------------------------------------------------------------------ */

/* Servers reject a history in which a call's arguments are no JSON object, so what a model once got wrong is sent
 * back to it wrapped. */
static void arguments_write(struct json_writer *w, struct str arguments)
{
    autojson doc = json_parse(arguments, NULL, NULL);
    if (json_type(json_root(doc)) == JSON_OBJECT) {
        jw_member_str(w, "arguments", arguments);
        return;
    }
    autobuf wrapped = {0};
    struct json_writer inner = json_writer(&wrapped);
    jw_object(&inner);
    if (str_trim(arguments).n > 0)
        jw_member_str(&inner, "unparsed", arguments);
    jw_object_end(&inner);
    jw_member_str(w, "arguments", buf_str(&wrapped));
}

static void assistant_write(struct json_writer *w, const struct llm *l, const struct llm_message *m)
{
    jw_object(w);
    jw_member_cstr(w, "role", "assistant");
    if (m->call_count > 0 && parts_count(m, LLM_TEXT) == 0)
        jw_member_null(w, "content");
    else
        content_write(w, l, m, 1);
    if (m->reasoning.n > 0 && (l->traits & LLM_WANTS_REASONING))
        jw_member_str(w, "reasoning_content", m->reasoning);
    if (m->call_count > 0) {
        jw_key(w, "tool_calls");
        jw_array(w);
        for (size_t i = 0; i < m->call_count; i++) {
            jw_object(w);
            jw_member_str(w, "id", m->calls[i].id);
            jw_member_cstr(w, "type", "function");
            jw_key(w, "function");
            jw_object(w);
            jw_member_str(w, "name", m->calls[i].name);
            arguments_write(w, m->calls[i].arguments);
            jw_object_end(w);
            jw_object_end(w);
        }
        jw_array_end(w);
    }
    jw_object_end(w);
}

static void tool_write(struct json_writer *w, const struct llm *l, const struct llm_message *m)
{
    jw_object(w);
    jw_member_cstr(w, "role", "tool");
    jw_member_str(w, "tool_call_id", m->tool_call_id);
    if (m->name.n > 0)
        jw_member_str(w, "name", m->name);
    content_write(w, l, m, 1);
    jw_object_end(w);
}

/* Images that tools returned: the API takes images from users only, and nothing may stand between the results of one
 * answer's calls, so they follow as a user's message. */
static void tool_images_write(struct json_writer *w, const struct llm *l, const struct llm_message *tools,
                              size_t n)
{
    size_t images = 0;
    for (size_t i = 0; i < n; i++)
        images += parts_count(&tools[i], LLM_IMAGE);
    if (images == 0 || !l->vision)
        return;
    jw_object(w);
    jw_member_cstr(w, "role", "user");
    jw_key(w, "content");
    jw_array(w);
    text_part(w, l, &(struct llm_part){.text = STR("Images from the tool results above:")});
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < tools[i].part_count; k++)
            if (tools[i].parts[k].type == LLM_IMAGE)
                image_part(w, &tools[i].parts[k]);
    jw_array_end(w);
    jw_object_end(w);
}

/* Messages from `at` on that have the same role. */
static size_t run_length(const struct llm_request *request, size_t at)
{
    size_t n = 1;
    while (at + n < request->message_count && request->messages[at + n].role == request->messages[at].role)
        n++;
    return n;
}

static void messages_write(struct json_writer *w, const struct llm *l, const struct llm_request *request)
{
    jw_key(w, "messages");
    jw_array(w);
    for (size_t at = 0, n; at < request->message_count; at += n) {
        const struct llm_message *m = &request->messages[at];
        n = 1;
        switch (m->role) {
        case LLM_SYSTEM:
        case LLM_USER:
            if (m->role == LLM_USER && !l->string_content)
                n = run_length(request, at); /* several in a row are one turn */
            jw_object(w);
            jw_member_cstr(w, "role", m->role == LLM_USER ? "user" : "system");
            content_write(w, l, m, n);
            jw_object_end(w);
            break;
        case LLM_ASSISTANT: assistant_write(w, l, m); break;
        case LLM_TOOL:
            n = run_length(request, at);
            for (size_t i = 0; i < n; i++)
                tool_write(w, l, m + i);
            tool_images_write(w, l, m, n);
            break;
        }
    }
    jw_array_end(w);
}

static void tools_write(struct json_writer *w, const struct llm_request *request)
{
    if (request->tool_count == 0)
        return;
    jw_key(w, "tools");
    jw_array(w);
    for (size_t i = 0; i < request->tool_count; i++) {
        const struct llm_tool *tool = &request->tools[i];
        jw_object(w);
        jw_member_cstr(w, "type", "function");
        jw_key(w, "function");
        jw_object(w);
        jw_member_str(w, "name", tool->name);
        jw_member_str(w, "description", tool->description);
        jw_member_raw(w, "parameters", tool->parameters);
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
}

/* --- the rest ------------------------------------------------------------------------------------- */

struct params {
    struct json_writer *w;
    const struct llm *l;
    unsigned refused, sent;
};

/* True when the parameter is to be written; its key is then. */
static bool param(struct params *p, bool wanted, enum llm_param bit, const char *key)
{
    if (!wanted || (p->refused & bit) || !ours(p->l, key))
        return false;
    p->sent |= bit;
    jw_key(p->w, key);
    return true;
}

static unsigned params_write(struct json_writer *w, const struct llm *l, const struct llm_attempt *attempt)
{
    struct params p = {w, l, attempt->refused, 0};
    bool sampling = !(l->traits & LLM_NO_SAMPLING) || !l->drop_params;
    if (param(&p, sampling && (l->has_temperature || attempt->warm), LLM_PARAM_TEMPERATURE, "temperature"))
        jw_float(w, attempt->warm && l->temperature == 0 ? 1.0 : l->temperature);
    if (param(&p, sampling && l->has_top_p, LLM_PARAM_TOP_P, "top_p"))
        jw_float(w, l->top_p);
    if (param(&p, l->has_top_k, LLM_PARAM_TOP_K, "top_k"))
        jw_int(w, l->top_k);
    if (param(&p, l->has_seed, LLM_PARAM_SEED, "seed"))
        jw_int(w, l->seed);
    if (param(&p, l->effort.n > 0 && (l->traits & LLM_TAKES_EFFORT), LLM_PARAM_EFFORT, "reasoning_effort"))
        jw_str(w, l->effort);
    /* One of two names; a server that refuses the first is given the second. */
    bool newer = (l->traits & LLM_COMPLETION_TOKENS) != 0;
    newer = newer ? !(p.refused & LLM_PARAM_MAX_COMPLETION_TOKENS) : (p.refused & LLM_PARAM_MAX_TOKENS) != 0;
    if (param(&p, newer && l->max_output_tokens > 0, LLM_PARAM_MAX_COMPLETION_TOKENS,
              "max_completion_tokens"))
        jw_int(w, l->max_output_tokens);
    if (param(&p, !newer && l->max_output_tokens > 0, LLM_PARAM_MAX_TOKENS, "max_tokens"))
        jw_int(w, l->max_output_tokens);
    if (l->stream && ours(l, "stream"))
        jw_member_bool(w, "stream", true);
    if (param(&p, l->stream, LLM_PARAM_STREAM_OPTIONS, "stream_options"))
        jw_raw(w, STR("{\"include_usage\":true}"));
    return p.sent;
}

static bool header_given(const struct llm *l, struct str name)
{
    for (size_t i = 0; i < l->header_count; i++)
        if (str_starts_nocase(l->headers[i], name) && l->headers[i].n > name.n &&
            l->headers[i].p[name.n] == ':')
            return true;
    return false;
}

static void header_default(const struct llm *l, struct llm_http *out, struct str name, struct str value)
{
    if (!header_given(l, name))
        vec_push(&out->headers, arena_printf(out->arena, "%.*s: %.*s", STR_ARG(name), STR_ARG(value)));
}

static void headers_write(const struct llm *l, struct llm_http *out)
{
    header_default(l, out, STR("Content-Type"), STR("application/json"));
    header_default(l, out, STR("Accept"),
                   l->stream ? STR("text/event-stream, application/json") : STR("application/json"));
    if (l->stream) /* a compressing proxy would hold pieces back */
        header_default(l, out, STR("Accept-Encoding"), STR("identity"));
    if (l->api_key.n > 0)
        header_default(l, out, STR("Authorization"),
                       arena_printf(out->arena, "Bearer %.*s", STR_ARG(l->api_key)));
    for (size_t i = 0; i < l->header_count; i++)
        vec_push(&out->headers, l->headers[i]);
}

bool openai_chat_request(const struct llm *l, const struct llm_request *request,
                         const struct llm_attempt *attempt, struct llm_http *out, struct err **e)
{
    (void)e;
    headers_write(l, out);
    struct json_writer w = json_writer(&out->body);
    jw_object(&w);
    if (ours(l, "model"))
        jw_member_str(&w, "model", l->wire_model);
    if (ours(l, "messages"))
        messages_write(&w, l, request);
    if (ours(l, "tools"))
        tools_write(&w, request);
    out->sent = params_write(&w, l, attempt);
    for (struct json_iter it = json_iter(l->extra_body); json_next(&it);)
        if (it.key.p) {
            jw_key_str(&w, it.key);
            jw_value(&w, it.value);
        }
    jw_object_end(&w);
    return true;
}
