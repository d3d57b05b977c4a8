#include "api/app.h"
#include "base/cleanup.h"

/* ---- answers ---- */

void reply_success(struct request *r, bool success)
{
    autobuf body = {0};
    buf_add(&body, success ? STR("{\"success\":true}") : STR("{\"success\":false}"));
    request_reply_json(r, 200, &body);
}

void reply_missing(struct request *r, const void *args)
{
    (void)args;
    request_reply_detail(r, 404, "Not Found");
}

void problem_value(struct json_problems *problems, const struct json_path *path,
                   const struct json_value *value, const char *message)
{
    autobuf text = {0};
    buf_addf(&text, "Value error, %s", message);
    json_problem_at(problems, path, "value_error", buf_str(&text), &(struct json_input){.value = value},
                    STR_NONE);
}

void reply_invalid(struct request *r, const char *field, const char *message)
{
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path body = {.name = STR("body")};
    struct json_path path = {.parent = &body, .name = str_from(field)};
    problem_value(&problems, field ? &path : &body, NULL, message);
    request_reply_problems(r, &problems);
}

void reply_error(struct request *r, const struct err *e)
{
    if (e && e->kind == ERR_INVALID)
        reply_invalid(r, NULL, err_text(e));
    else
        request_reply_error(r, e);
}

/* ---- acting ---- */

void act_end(struct act *a, const struct err *e)
{
    /* The answer ends the request, and with it the arena that holds the act. */
    struct conversation *c = a->conversation;
    json_doc_free(a->doc);
    if (!e && a->succeeded)
        a->succeeded(a->request, a->args);
    else if (!e)
        reply_success(a->request, true);
    else if (a->failed)
        a->failed(a->request, a->args, e);
    else
        reply_error(a->request, e);
    conversation_unref(c);
}

void act_success(void *arg, const struct err *e)
{
    act_end(arg, e);
}

/* The act may end, on another thread, before `run` returns: a reference of our own keeps the conversation until then. */
static void act_now(void *arg)
{
    struct act *a = arg;
    struct conversation *c = conversation_ref(a->conversation);
    a->run(a);
    conversation_unref(c);
}

static void act_fail(struct act *a, const struct err *e)
{
    json_doc_free(a->doc);
    if (e->kind == ERR_NOT_FOUND)
        (a->missing ? a->missing : reply_missing)(a->request, a->args);
    else if (a->failed)
        a->failed(a->request, a->args, e);
    else
        reply_error(a->request, e);
}

/* Any thread: from here the functions that act have to go on a worker. */
static void act_opened(void *arg, struct conversation *c, const struct err *e)
{
    struct act *a = arg;
    if (c) {
        a->conversation = c;
        pool_submit_always(app_of(a->request)->config.pool, act_now, a);
    } else {
        act_fail(a, e);
    }
}

void act_start(const struct act *template)
{
    struct act *a = ARENA_NEW(request_arena(template->request), struct act);
    *a = *template;
    const struct id_args *args = a->args;
    struct conversations *all = conversations_of(a->request);
    a->conversation = conversations_peek(all, &args->id);
    if (a->conversation)
        act_now(a); /* handlers that act are on a worker already */
    else
        conversations_open(all, &args->id, act_opened, a);
}

bool effect_allowed(struct request *r)
{
    bool cross_site = str_eq_nocase(request_header(r, "Sec-Fetch-Site"), STR("cross-site"));
    if (!cross_site || request_header(r, "Origin").p)
        return true;
    request_reply_detail(r, 403, "This may not be asked for by the page of another site");
    return false;
}
