#include "agent/hook/run.h"
#include "agent/internal.h"
#include "base/utf8.h"
#include "base/vec.h"

#define REASON_MAX 10000 /* characters: the model reads it, and it is kept with the state */
#define BLOCKED "A hook blocked it."
void event_drafts_deinit(struct event_drafts *d)
{
    for (size_t i = 0; i < d->n; i++)
        event_draft_deinit(&d->at[i]);
    vec_deinit(d);
}

void hook_verdict_deinit(struct hook_verdict *v)
{
    buf_deinit(&v->reason);
    buf_deinit(&v->context);
}

/* ---- one hook ---- */

static void env_add(struct buf *fields, const char *name, struct str value)
{
    autobuf pair = {0};
    buf_addf(&pair, "%s=", name);
    buf_add(&pair, value);
    wire_add_str(fields, F_ENV, buf_str(&pair));
}

void hook_spawn_fields(struct buf *fields, struct str command, bool async, struct str conversation,
                       struct str working_dir, enum hook_event event, struct str tool)
{
    autobuf text = {0};
    if (async) /* nobody reads what it prints */
        buf_add(&text, STR("exec >/dev/null 2>&1\n"));
    buf_add(&text, command);
    wire_add_str(fields, F_COMMAND, buf_str(&text));
    env_add(fields, "OPENHANDS_PROJECT_DIR", working_dir);
    env_add(fields, "OPENHANDS_SESSION_ID", conversation);
    env_add(fields, "OPENHANDS_EVENT_TYPE", str_from(hook_event_name(event)));
    if (tool.p)
        env_add(fields, "OPENHANDS_TOOL_NAME", tool);
}

static void mask_in_place(const struct mask *mask, struct buf *text)
{
    struct buf masked = {0};
    mask_apply(mask, buf_str(text), &masked);
    buf_deinit(text);
    *text = masked;
}

static void failed(struct hook_result *r, const char *why)
{
    r->success = r->blocked = false;
    r->exit_code = -1;
    buf_clear(&r->error);
    buf_add_cstr(&r->error, why);
}

void hook_result_take(struct hook_result *r, const struct hook *hook, struct hand_spawn *spawn,
                      const struct err *why, const struct mask *mask)
{
    r->out = spawn->out;
    r->err = spawn->err;
    spawn->out = spawn->err = (struct buf){0};
    r->exit_code = spawn->exit_code;
    mask_in_place(mask, &r->out);
    mask_in_place(mask, &r->err);
    if (!why && spawn->status == WIRE_OK) {
        hook_result_read(r);
    } else if (!why || why->kind == ERR_TIMEOUT) {
        failed(r, "");
        buf_addf(&r->error, "The hook was ended: it took more than %lld s.", (long long)hook->timeout_s);
    } else {
        failed(r, "");
        buf_addf(&r->error, "The hook could not be run: %s", err_text(why));
    }
    mask_in_place(mask, &r->reason); /* JSON may have hidden a secret behind escapes */
    mask_in_place(mask, &r->context);
    mask_in_place(mask, &r->error);
}

static bool command_run(const struct agent_host *host, const struct hook *hook, const struct hook_call *call,
                        struct str input, struct hook_result *r, struct err **e)
{
    autobuf fields = {0};
    autoerr why = NULL;
    struct hand_spawn spawn = {.input = input,
                               .timeout_ms = (uint64_t)hook->timeout_s * 1000,
                               .output_max = hook->async ? 0 : HOOK_OUTPUT_MAX};
    hook_spawn_fields(&fields, hook->command, hook->async, host->conversation, host->hand.working_dir,
                      call->event, call->tool_name);
    if (hook->async) {
        hand_spawn_start(host->hands, &host->hand, &fields, &spawn, NULL, NULL);
        r->success = true;
        return true;
    }
    hand_spawn_wait(host->hands, &host->hand, &fields, &spawn, host->mailbox, &why);
    hook_result_take(r, hook, &spawn, why, host->mask(host->arg));
    return !why || why->kind != ERR_CANCELLED || err_set(e, ERR_CANCELLED, "interrupted");
}

void hook_draft_add(const struct hook *hook, const struct hook_call *call, const struct hook_result *r,
                    const struct mask *mask, struct event_drafts *drafts)
{
    autobuf label = {0};
    struct event_draft d;
    hook_label(hook, &label);
    mask_in_place(mask, &label);
    event_draft_init(&d, EVENT_HOOK_EXECUTION, SOURCE_HOOK);
    hook_event_body(&d, call, buf_str(&label), r);
    vec_push(drafts, d);
}

/* ---- all of a moment ---- */

static bool may_block(enum hook_event event)
{
    return event == HOOK_PRE_TOOL_USE || event == HOOK_USER_PROMPT_SUBMIT || event == HOOK_STOP;
}

static void verdict_take(struct hook_verdict *v, const struct hook_result *r, bool blocks)
{
    if (r->context.n > 0) {
        if (v->context.n > 0)
            buf_add_char(&v->context, '\n');
        buf_add(&v->context, buf_str(&r->context));
    }
    if (!blocks || !r->blocked)
        return;
    struct str said = str_trim(buf_str(r->reason.n > 0 ? &r->reason : &r->err));
    autobuf text = {0};
    utf8_scrub(&text, said.n > 0 ? said : STR(BLOCKED));
    v->blocked = true;
    buf_add(&v->reason, utf8_prefix(buf_str(&text), REASON_MAX));
}

bool hooks_run(const struct agent_host *host, const struct hook_call *call, struct event_drafts *drafts,
               struct hook_verdict *verdict, struct err **e)
{
    autoarena arena = arena_new();
    autobuf input = {0};
    bool blocks = may_block(call->event), ok = true;
    const struct hook *const *hooks =
        hook_config_select(host->hooks, call->event, call->tool_name, arena, &verdict->ran);
    if (verdict->ran == 0)
        return true;
    hook_input_write(call, host->conversation, host->hand.working_dir, &input);
    for (size_t i = 0; ok && i < verdict->ran && !verdict->blocked; i++) {
        struct hook_result r = {0};
        if (hooks[i]->type == HOOK_COMMAND)
            ok = command_run(host, hooks[i], call, buf_str(&input), &r, e);
        else
            failed(&r, HOOK_UNSUPPORTED);
        if (ok) {
            hook_draft_add(hooks[i], call, &r, host->mask(host->arg), drafts);
            verdict_take(verdict, &r, blocks);
        }
        hook_result_deinit(&r);
    }
    return ok;
}

/* ---- around a tool ---- */

bool hooks_before_tool(const struct agent_host *host, const struct view_action *action,
                       struct event_drafts *drafts, struct buf *blocked, struct err **e)
{
    if (!host->hooks)
        return true;
    struct hook_verdict verdict = {0};
    struct hook_call call = {.event = HOOK_PRE_TOOL_USE,
                             .tool_name = action->tool_name,
                             .input = action->action,
                             .action_id = &action->id};
    bool ok = hooks_run(host, &call, drafts, &verdict, e);
    if (ok && verdict.blocked) {
        struct event_draft d;
        event_draft_init(&d, EVENT_USER_REJECT, SOURCE_ENVIRONMENT);
        event_reject_body(&d, action->tool_name, action->tool_call_id, &action->id, buf_str(&verdict.reason),
                          "hook");
        vec_push(drafts, d);
        buf_add(blocked, buf_str(&verdict.reason));
    }
    hook_verdict_deinit(&verdict);
    return ok;
}

bool hooks_after_tool(const struct agent_host *host, const struct view_action *action,
                      struct event_drafts *drafts, struct err **e)
{
    autoarena arena = arena_new();
    size_t n = 0;
    hook_config_select(host->hooks, HOOK_POST_TOOL_USE, action->tool_name, arena, &n);
    if (n == 0 || drafts->n == 0 || drafts->at[drafts->n - 1].kind != EVENT_OBSERVATION)
        return true;
    autobuf text = {0};
    buf_add_char(&text, '{');
    buf_add(&text, buf_str(&drafts->at[drafts->n - 1].body));
    buf_add_char(&text, '}');
    autojson doc = json_parse_trusted(buf_str(&text), NULL);
    struct hook_verdict verdict = {0};
    struct hook_call call = {.event = HOOK_POST_TOOL_USE,
                             .tool_name = action->tool_name,
                             .input = action->action,
                             .response = json_get(json_root(doc), "observation"),
                             .action_id = &action->id};
    bool ok = hooks_run(host, &call, drafts, &verdict, e);
    hook_verdict_deinit(&verdict);
    return ok;
}
