#include "llm/scripted.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/uuid.h"

/* --- finding the line -------------------------------------------------------------------------------- */

static bool line_has(struct str line, const char *key)
{
    autojson doc = json_parse(line, NULL, NULL);
    return json_get_bool(json_root(doc), key, false);
}

static bool line_is_for_no_tools(struct str line)
{
    return str_find(line, STR("\"no_tools\"")) >= 0 && line_has(line, "no_tools");
}

struct str scripted_line(struct str script, uint64_t turn, bool no_tools)
{
    struct str line, last = STR_NONE;
    while (str_split(&script, '\n', &line)) {
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        bool aside = line_is_for_no_tools(line);
        if (aside != no_tools)
            continue;
        if (no_tools || turn-- == 0)
            return line;
        last = line;
    }
    return str_find(last, STR("\"repeat\"")) >= 0 && line_has(last, "repeat") ? last : STR_NONE;
}

static bool name_is_plain(struct str name)
{
    if (name.n == 0 || name.n > 128 || name.p[0] == '.')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
              c == '_' || c == '.'))
            return false;
    }
    return true;
}

static bool script_read(const struct llm *l, struct str dir, struct buf *out, struct llm_failure *failure,
                        struct err **e)
{
    if (!name_is_plain(l->wire_model))
        return llm_fail(l, "LLMBadRequestError", failure, e,
                        "a script's name has letters, digits, '-', '_' and '.' only");
    if (!dir.p)
        return llm_fail(l, "NotFoundError", failure, e,
                        "there is no built-in script of that name and no --scripts");
    autobuf path = {0};
    path_join(&path, dir, l->wire_model);
    buf_add_cstr(&path, ".jsonl");
    autoerr why = NULL;
    if (file_read(path.p, SCRIPT_BYTES_MAX, out, &why))
        return true;
    return llm_fail(l, why->kind == ERR_NOT_FOUND ? "NotFoundError" : "LLMBadRequestError", failure, e,
                    "the script cannot be read: %s", err_text(why));
}

/* --- playing it ---------------------------------------------------------------------------------------- */

/* The mailbox is where a run waits: nothing is posted with this tag, so the wait ends by its deadline or a cancel. */
static bool delay_wait(int64_t ms, struct mailbox *mailbox, struct err **e)
{
    if (ms <= 0 || !mailbox)
        return true;
    if (ms > SCRIPT_DELAY_MAX_MS)
        ms = SCRIPT_DELAY_MAX_MS;
    struct mail *mail = NULL;
    uint64_t deadline = clock_mono_ns() + (uint64_t)ms * NS_PER_MS;
    if (mailbox_wait(mailbox, mailbox_tag(mailbox), deadline, true, &mail) == MAILBOX_CANCELLED)
        return err_set(e, ERR_CANCELLED, "cancelled");
    return true;
}

static bool error_play(const struct llm *l, const struct json_value *error, unsigned attempt,
                       struct llm_failure *failure, struct err **e)
{
    if (json_type(error) != JSON_OBJECT || attempt > json_get_int(error, "times", INT32_MAX))
        return true;
    int64_t status = json_get_int(error, "status", 500);
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_value(&w, "error", error);
    jw_object_end(&w);
    return llm_fail_status(l, status < 300 || status > 599 ? 500 : (int)status, STR_NONE, buf_str(&body),
                           failure, e);
}

static void calls_play(struct llm_draft *d, const struct json_value *calls, uint64_t turn)
{
    for (struct json_iter it = json_iter(calls); json_next(&it);) {
        const struct json_value *arguments = json_get(it.value, "arguments");
        autobuf text = {0}, id = {0};
        if (json_type(arguments) == JSON_STRING)
            buf_add(&text, json_str(arguments));
        else if (!json_is_null(arguments))
            json_add(&text, arguments);
        buf_add(&id, json_get_str(it.value, "id"));
        if (id.n == 0)
            buf_addf(&id, "call_%llu_%zu", (unsigned long long)turn, it.index);
        llm_draft_call_add(d, (int64_t)it.index, buf_str(&id), json_get_str(it.value, "name"),
                           buf_str(&text));
    }
}

static void usage_play(struct llm_usage *u, const struct json_value *usage)
{
    u->prompt_tokens = json_get_int(usage, "prompt_tokens", 0);
    u->completion_tokens = json_get_int(usage, "completion_tokens", 0);
    u->cache_read_tokens = json_get_int(usage, "cache_read_tokens", 0);
    u->cache_write_tokens = json_get_int(usage, "cache_write_tokens", 0);
    u->reasoning_tokens = json_get_int(usage, "reasoning_tokens", 0);
}

static bool line_play(struct llm *l, struct str line, const struct llm_request *request,
                      const struct llm_attempt *attempt, struct mailbox *mailbox, struct arena *arena,
                      struct llm_answer *answer, struct llm_failure *failure, struct err **e)
{
    autoerr why = NULL;
    autojson doc = json_parse(line, NULL, &why);
    const struct json_value *v = json_root(doc);
    if (json_type(v) != JSON_OBJECT)
        return llm_fail(l, "LLMBadRequestError", failure, e,
                        "the script's line for turn %llu is no JSON object: %s",
                        (unsigned long long)request->turn, why ? err_text(why) : "it is something else");
    if (!delay_wait(json_get_int(v, "delay_ms", 0), mailbox, e) ||
        !error_play(l, json_get(v, "error"), attempt->number, failure, e))
        return false;
    struct llm_draft d = {.answered = true};
    buf_add(&d.text, json_get_str(v, "text"));
    buf_add(&d.reasoning, json_get_str(v, "reasoning"));
    struct str reason = json_get_str(v, "finish_reason");
    calls_play(&d, json_get(v, "calls"), request->turn);
    buf_add(&d.finish_reason, reason.n > 0 ? reason : d.calls.n > 0 ? STR("tool_calls") : STR("stop"));
    buf_addf(&d.id, "scripted-%llu", (unsigned long long)request->turn);
    const struct json_value *usage = json_get(v, "usage");
    usage_play(&d.usage, usage);
    bool ok = llm_draft_finish(&d, l, arena, answer, failure, e);
    llm_draft_deinit(&d);
    if (ok)
        answer->usage.cost = json_get_float(usage, "cost", llm_cost(l, &answer->usage, STR_NONE));
    return ok;
}

/* --- the two endless models of the benchmarks: no parsing, nothing shared --------------------------------- */

static bool endless_play(struct str name, const struct llm_request *request, struct arena *arena,
                         struct llm_answer *answer)
{
    bool think = str_is(name, "think");
    if ((!think && !str_is(name, "true")) || request->tool_count == 0)
        return false;
    unsigned long long turn = request->turn;
    struct llm_call *call = ARENA_NEW(arena, struct llm_call);
    call->id = arena_printf(arena, "call_%llu", turn);
    call->name = think ? STR("think") : STR("terminal");
    /* `true` ignores its arguments; the number keeps the agent from looking stuck. */
    call->arguments = think ? arena_printf(arena, "{\"thought\":\"step %llu\"}", turn)
                            : arena_printf(arena, "{\"command\":\"true %llu\"}", turn);
    *answer = (struct llm_answer){.text = STR(""),
                                  .reasoning = STR(""),
                                  .calls = call,
                                  .call_count = 1,
                                  .finish_reason = STR("tool_calls"),
                                  .id = arena_printf(arena, "scripted-%llu", turn),
                                  .usage = {.prompt_tokens = 100, .completion_tokens = 10}};
    answer->usage.response_id = answer->id;
    return true;
}

bool llm_scripted_play(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                       const struct llm_attempt *attempt, struct mailbox *mailbox, struct arena *arena,
                       struct llm_answer *answer, struct llm_failure *failure, struct err **e)
{
    *failure = (struct llm_failure){.retry_after = -1};
    if (endless_play(l->wire_model, request, arena, answer))
        return true;
    autobuf file = {0};
    struct str script = scripted_builtin(l->wire_model);
    if (!script.p) {
        if (!script_read(l, context->scripts_dir, &file, failure, e))
            return false;
        script = buf_str(&file);
    }
    bool no_tools = request->tool_count == 0;
    struct str line = scripted_line(script, request->turn, no_tools);
    if (!line.p)
        line = no_tools
                   ? STR("{\"text\":\"A scripted conversation\",\"finish_reason\":\"" SCRIPT_SILENT "\"}")
                   : STR("{\"text\":\"The script has ended.\"}");
    if (!line_play(l, line, request, attempt, mailbox, arena, answer, failure, e))
        return false;
    if (l->stream && request->on_delta && (answer->text.n > 0 || answer->reasoning.n > 0))
        request->on_delta(request->arg, answer->text, answer->reasoning);
    return true;
}
