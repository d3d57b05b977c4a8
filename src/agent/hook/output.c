/* What a hook is told and what it answers, as JSON. */
#include "agent/hook/hook.h"
#include "agent/internal.h"
#include "base/utf8.h"

#define LABEL_TEXT_MAX 20    /* characters of a prompt in a label */
#define INPUT_STRING_MIN 256 /* bytes to which texts of a hook's input are cut at worst */
#define INPUT_REST_MAX 32768 /* bytes of its other members: a path may be escaped */

void hook_result_deinit(struct hook_result *r)
{
    buf_deinit(&r->out);
    buf_deinit(&r->err);
    buf_deinit(&r->reason);
    buf_deinit(&r->context);
    buf_deinit(&r->error);
}

/* As a text: a string as it is, anything else as its JSON. */
static void text_set(struct buf *out, const struct json_value *v)
{
    buf_clear(out);
    if (json_type(v) == JSON_STRING)
        buf_add(out, json_str(v));
    else if (v)
        json_add(out, v);
}

static bool is_false(const struct json_value *v)
{
    switch (json_type(v)) {
    case JSON_NULL: return true;
    case JSON_BOOL: return !json_bool(v, true);
    case JSON_INT:
    case JSON_FLOAT: return json_float(v, 1) == 0;
    case JSON_STRING: return json_str(v).n == 0;
    case JSON_ARRAY:
    case JSON_OBJECT: return json_count(v) == 0;
    case JSON_ABSENT: break;
    }
    return false;
}

void hook_result_read(struct hook_result *r)
{
    r->success = r->exit_code == 0;
    r->blocked = r->exit_code == 2;
    struct str text = str_trim(buf_str(&r->out));
    autojson doc = text.n > 0 && text.p[0] == '{' ? json_parse(text, NULL, NULL) : NULL;
    const struct json_value *answer = json_root(doc);
    if (json_type(answer) != JSON_OBJECT)
        return;
    r->blocked |= str_eq_nocase(json_get_str(answer, "decision"), STR("deny"));
    r->blocked |= is_false(json_get(answer, "continue"));
    text_set(&r->reason, json_get(answer, "reason"));
    text_set(&r->context, json_get(answer, "additionalContext"));
}

/* ---- the input ---- */

static void member_value(struct json_writer *w, const char *key, const struct json_value *v, size_t limit)
{
    jw_key(w, key);
    if (v && limit > 0)
        json_reduce(w, v, limit);
    else
        jw_null(w);
}

static void member_text(struct json_writer *w, const char *key, struct str text, size_t limit)
{
    jw_member_str(w, key, text.n > limit ? utf8_prefix_bytes(text, limit) : text);
}

static void input_write(const struct hook_call *call, struct str conversation, struct str working_dir,
                        size_t limit, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_member_cstr(&w, "event_type", hook_event_name(call->event));
    jw_member_str(&w, "tool_name", call->tool_name);
    member_value(&w, "tool_input", call->input, limit);
    member_value(&w, "tool_response", call->response, limit);
    member_text(&w, "message", call->message, limit);
    jw_member_str(&w, "session_id", conversation);
    jw_member_str(&w, "working_dir", working_dir);
    jw_key(&w, "metadata");
    jw_object(&w);
    if (call->reason.n > 0)
        jw_member_str(&w, "reason", call->reason);
    jw_object_end(&w);
    jw_object_end(&w);
}

/* The longest texts are cut first, until it all fits; 0: only nothing at all does. */
static size_t input_limit(const struct hook_call *call)
{
    for (size_t limit = HOOK_INPUT_MAX / 2;; limit /= 2) {
        autobuf text = {0};
        input_write(call, STR_NONE, STR_NONE, limit, &text);
        if (text.n < HOOK_INPUT_MAX - INPUT_REST_MAX)
            return limit;
        if (limit <= INPUT_STRING_MIN)
            return 0;
    }
}

void hook_input_write(const struct hook_call *call, struct str conversation, struct str working_dir,
                      struct buf *out)
{
    input_write(call, conversation, working_dir, input_limit(call), out);
}

/* ---- the event ---- */

void hook_label(const struct hook *h, struct buf *out)
{
    if (h->type == HOOK_COMMAND) {
        buf_add(out, h->command);
        return;
    }
    const char *type = h->type == HOOK_PROMPT ? "prompt" : "agent";
    struct str text = h->type == HOOK_PROMPT ? h->prompt : h->system_prompt;
    buf_addf(out, "%s-hook:", type);
    if (h->name.p)
        buf_add(out, h->name);
    else if (text.n > 0)
        buf_add(out, utf8_prefix(text, LABEL_TEXT_MAX));
    else
        buf_add_cstr(out, type);
}

static void member_cut(struct json_writer *w, const char *key, struct str text)
{
    autobuf scrubbed = {0};
    utf8_scrub(&scrubbed, text);
    struct str s = buf_str(&scrubbed);
    if (s.n > HOOK_TEXT_MAX && utf8_count(s) > HOOK_TEXT_MAX) {
        autobuf cut = {0};
        buf_add(&cut, utf8_prefix(s, HOOK_TEXT_MAX - (sizeof(HOOK_CUT_MARK) - 1)));
        buf_add(&cut, STR(HOOK_CUT_MARK));
        jw_member_str(w, key, buf_str(&cut));
    } else {
        jw_member_str(w, key, s);
    }
}

static void member_if(struct json_writer *w, const char *key, struct str text)
{
    if (text.n > 0)
        member_cut(w, key, text);
}

static void member_id(struct json_writer *w, const char *key, const struct uuid *id)
{
    char text[UUID_DASHED_LEN + 1];
    if (id)
        jw_member_str(w, key, uuid_dashed(id, text));
}

/* The part of the input that the reference lists for the moment. */
static void member_input(struct json_writer *w, const struct hook_call *call)
{
    size_t limit = input_limit(call);
    if (!call->tool_name.p && !call->message.p && call->reason.n == 0)
        return;
    jw_key(w, "hook_input");
    jw_object(w);
    if (call->tool_name.p) {
        jw_member_str(w, "tool_name", call->tool_name);
        member_value(w, "tool_input", call->input, limit);
    }
    if (call->response)
        member_value(w, "tool_response", call->response, limit);
    if (call->message.p)
        member_text(w, "message", call->message, limit);
    if (call->reason.n > 0)
        jw_member_str(w, "reason", call->reason);
    jw_object_end(w);
}

void hook_event_body(struct event_draft *d, const struct hook_call *call, struct str label,
                     const struct hook_result *r)
{
    struct json_writer w = event_body_writer(d);
    jw_member_cstr(&w, "hook_event_type", hook_event_name(call->event));
    member_cut(&w, "hook_command", label);
    if (call->tool_name.p)
        jw_member_str(&w, "tool_name", call->tool_name);
    jw_member_bool(&w, "success", r->success);
    jw_member_bool(&w, "blocked", r->blocked);
    jw_member_int(&w, "exit_code", r->exit_code);
    member_cut(&w, "stdout", buf_str(&r->out));
    member_cut(&w, "stderr", buf_str(&r->err));
    member_if(&w, "reason", buf_str(&r->reason));
    member_if(&w, "additional_context", buf_str(&r->context));
    member_if(&w, "error", buf_str(&r->error));
    member_id(&w, "action_id", call->action_id);
    member_id(&w, "message_id", call->message_id);
    member_input(&w, call);
    event_draft_reduce(d);
}
