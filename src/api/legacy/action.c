#include "api/legacy/action.h"
#include "api/legacy/app.h"
#include "base/cleanup.h"
#include "base/err.h"

#define URLS_MAX 100 /* images, and files, of one message */

/* ---- arguments ---- */

struct argument {
    const char *name;
    enum json_type type; /* JSON_ABSENT: not looked at */
};

/* Left out of an action's arguments whichever it is, as upstream does. */
static const struct argument ignored[] = {{"timestamp", 0}, {"keep_prompt", 0}, {"task_completed", 0}};

static const struct argument *argument_find(const struct argument *list, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(name, list[i].name))
            return &list[i];
    return NULL;
}

static bool arguments_check(const struct json_value *args, const struct argument *known, size_t n,
                            struct err **e)
{
    if (!json_is_null(args) && json_type(args) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "args has to be an object");
    for (struct json_iter it = json_iter(args); json_next(&it);) {
        const struct argument *a = argument_find(known, n, it.key);
        if (!a && argument_find(ignored, ARRAY_LEN(ignored), it.key))
            continue;
        if (!a)
            return err_set(e, ERR_INVALID, "the action has no argument %.*s",
                           STR_ARG(str_sub(it.key, 0, 100)));
        if (a->type != JSON_ABSENT && !json_is_null(it.value) && json_type(it.value) != a->type)
            return err_set(e, ERR_INVALID, "the argument %s is of the wrong type", a->name);
    }
    return true;
}

/* ---- message ---- */

static bool urls_check(const struct json_value *urls, const char *name, struct err **e)
{
    if (json_count(urls) > URLS_MAX)
        return err_set(e, ERR_INVALID, "%s has more than %d items", name, URLS_MAX);
    for (struct json_iter it = json_iter(urls); json_next(&it);)
        if (json_type(it.value) != JSON_STRING)
            return err_set(e, ERR_INVALID, "%s has to be a list of texts", name);
    return true;
}

/* Uploaded files that the text does not speak of: the agent is told where they are. */
static void add_files(struct str content, const struct json_value *urls, struct buf *text)
{
    for (struct json_iter it = json_iter(urls); json_next(&it);) {
        struct str url = json_str(it.value);
        if (url.n == 0 || str_find(content, url) >= 0)
            continue;
        buf_add(text, text->n > 0 ? STR(", ") : STR("Uploaded files: "));
        buf_add(text, url);
    }
}

static bool decode_message(const struct json_value *args, struct legacy_action *out, struct err **e)
{
    static const struct argument known[] = {
        {"content", JSON_STRING},  {"image_urls", JSON_ARRAY},       {"images_urls", JSON_ARRAY},
        {"file_urls", JSON_ARRAY}, {"wait_for_response", JSON_BOOL}, {"security_risk", JSON_ABSENT},
    };
    const struct json_value *content = json_get(args, "content");
    const struct json_value *images = json_get(args, "image_urls"), *files = json_get(args, "file_urls");
    if (json_is_null(images))
        images = json_get(args, "images_urls");
    if (!arguments_check(args, known, ARRAY_LEN(known), e) || !urls_check(images, "image_urls", e) ||
        !urls_check(files, "file_urls", e))
        return false;
    if (json_type(content) != JSON_STRING)
        return err_set(e, ERR_INVALID, "a message needs its content");
    struct str urls[URLS_MAX];
    autobuf body = {0}, names = {0};
    for (struct json_iter it = json_iter(images); json_next(&it);)
        urls[it.index] = json_str(it.value);
    add_files(json_str(content), files, &names);
    legacy_message_write(json_str(content), buf_str(&names), urls, json_count(images), &body);
    if (body.n > CONVERSATION_MESSAGE_MAX)
        return err_set(e, ERR_TOO_LARGE, "A message has at most %d MiB.", CONVERSATION_MESSAGE_MAX >> 20);
    out->wish = WISH_MESSAGE;
    out->message = json_parse_trusted(buf_str(&body), e);
    return out->message != NULL;
}

/* ---- change_agent_state ---- */

static bool decode_state(const struct json_value *args, struct legacy_action *out, struct err **e)
{
    static const struct argument known[] = {{"agent_state", JSON_STRING}, {"thought", JSON_STRING}};
    static const struct {
        const char *state;
        enum legacy_wish wish;
    } wishes[] = {
        {"running", WISH_RUN},  {"paused", WISH_PAUSE},           {"awaiting_user_input", WISH_PAUSE},
        {"stopped", WISH_STOP}, {"user_confirmed", WISH_CONFIRM}, {"user_rejected", WISH_REJECT},
    };
    struct str state = json_get_str(args, "agent_state");
    if (!arguments_check(args, known, ARRAY_LEN(known), e))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(wishes); i++)
        if (str_is(state, wishes[i].state)) {
            out->wish = wishes[i].wish;
            return true;
        }
    return err_set(e, ERR_INVALID,
                   "agent_state has to be one of running, paused, stopped, awaiting_user_input, "
                   "user_confirmed and user_rejected");
}

static bool decode_null(const struct json_value *args, struct legacy_action *out, struct err **e)
{
    out->wish = WISH_NOTHING;
    return arguments_check(args, NULL, 0, e);
}

/* ---- any ---- */

bool legacy_action_decode(const struct json_value *data, struct legacy_action *out, struct err **e)
{
    static const struct {
        const char *name;
        bool (*decode)(const struct json_value *args, struct legacy_action *out, struct err **e);
    } actions[] = {
        {"message", decode_message},
        {"change_agent_state", decode_state},
        {"null", decode_null},
    };
    *out = (struct legacy_action){0};
    if (json_type(data) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "an event has to be a JSON object");
    struct str name = json_get_str(data, "action");
    if (!name.p)
        return err_set(e, ERR_INVALID,
                       json_get(data, "observation") ? "observations cannot be sent"
                                                     : "an event needs its action");
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (str_is(name, actions[i].name))
            return actions[i].decode(json_get(data, "args"), out, e);
    return err_set(e, ERR_INVALID, "the action %.*s cannot be sent: only message and change_agent_state can",
                   STR_ARG(str_sub(name, 0, 100)));
}

void legacy_action_deinit(struct legacy_action *a)
{
    json_doc_free(a->message);
    a->message = NULL;
}

static void conflict(conversation_done done, void *arg, const char *text)
{
    autoerr e = NULL;
    err_set(&e, ERR_CONFLICT, "%s", text);
    done(arg, e);
}

void legacy_action_do(struct conversation *c, const struct legacy_action *a, conversation_done done,
                      void *arg)
{
    enum status status = conversation_status(c);
    bool waits = status == STATUS_WAITING_FOR_CONFIRMATION;
    switch (a->wish) {
    case WISH_NOTHING: done(arg, NULL); break;
    case WISH_MESSAGE: conversation_send(c, json_root(a->message), true, done, arg); break;
    case WISH_RUN:
        if (waits) /* only a word for it lets it go on */
            conflict(done, arg, "an action waits for user_confirmed or user_rejected");
        else if (status == STATUS_RUNNING)
            done(arg, NULL);
        else
            conversation_run(c, done, arg);
        break;
    case WISH_PAUSE: conversation_pause(c, done, arg); break;
    case WISH_STOP: conversation_interrupt(c, done, arg); break;
    case WISH_CONFIRM:
        if (waits)
            conversation_run(c, done, arg);
        else
            conflict(done, arg, "no action waits for a confirmation");
        break;
    case WISH_REJECT:
        if (waits)
            conversation_reject(c, STR("The user rejected the action."), done, arg);
        else
            conflict(done, arg, "no action waits for a confirmation");
        break;
    }
}
