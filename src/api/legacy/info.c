/* ConversationInfo, as this dialect shows it. */
#include "api/legacy/info.h"
#include "base/clock.h"

#define DEFAULT_TITLE_ID 5 /* digits of the id in the title of a conversation that has none */

const char *const legacy_providers[] = {"github", "gitlab", "bitbucket", "enterprise_sso", NULL};
const char *const legacy_triggers[] = {
    "resolver", "gui", "suggested_task", "openhands_api", "slack", "microagent_management", "jira", "jira_dc",
    "linear",   NULL};

void legacy_origin_read(const struct store_row *row, struct legacy_origin *out)
{
    /* Damaged: it is shown all the same, so that it can be deleted. */
    out->doc = json_parse_trusted(row->config, NULL);
    const struct json_value *origin = json_get(json_root(out->doc), "origin");
    out->trigger = json_get_str(origin, "trigger");
    if (!out->trigger.p)
        out->trigger = str_from(legacy_triggers[LEGACY_TRIGGER_API]);
    out->repository = json_get_str(origin, "repository");
    out->branch = json_get_str(origin, "branch");
    out->provider = json_get_str(origin, "git_provider");
}

void legacy_origin_deinit(struct legacy_origin *o)
{
    json_doc_free(o->doc);
}

static void write_title(struct json_writer *w, const struct store_row *row, struct str id)
{
    autobuf title = {0};
    if (row->title.n == 0)
        buf_addf(&title, "Conversation %.*s", DEFAULT_TITLE_ID, id.p);
    jw_member_str(w, "title", title.n > 0 ? buf_str(&title) : row->title);
}

static void write_life(struct json_writer *w, bool live)
{
    jw_member_cstr(w, "status", live ? LEGACY_RUNNING : LEGACY_STOPPED);
    jw_member_str(w, "runtime_status", live ? STR("STATUS$READY") : STR_NONE);
}

void legacy_info_write(struct json_writer *w, struct conversations *all, const struct store_row *row,
                       const struct legacy_origin *origin)
{
    char hex[UUID_HEX_LEN + 1], time[CLOCK_TEXT_MAX];
    struct str id = uuid_hex(&row->id, hex);
    size_t sockets = 0;
    bool live = conversations_live(all, &row->id, &sockets);
    autobuf url = {0};
    buf_addf(&url, "/api/conversations/%s", hex);
    jw_object(w);
    jw_member_str(w, "conversation_id", id);
    write_title(w, row, id);
    jw_member_str(w, "last_updated_at",
                  row->next_seq > 0 ? clock_format_utc(row->updated_us, time) : STR_NONE);
    write_life(w, live);
    jw_member_str(w, "selected_repository", origin->repository);
    jw_member_str(w, "selected_branch", origin->branch);
    jw_member_str(w, "git_provider", origin->provider);
    jw_member_str(w, "trigger", origin->trigger);
    jw_member_int(w, "num_connections", (int64_t)sockets);
    jw_member_str(w, "url", live ? buf_str(&url) : STR_NONE);
    jw_member_null(w, "session_api_key");
    jw_member_str(w, "created_at", clock_format_utc(row->created_us, time));
    jw_member_raw(w, "pr_number", STR("[]"));
    jw_object_end(w);
}

void legacy_reply_outcome(struct request *r, int status, const struct legacy_outcome *o)
{
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_cstr(&w, "status", status < 400 ? "ok" : "error");
    if (o->id.p)
        jw_member_str(&w, "conversation_id", o->id);
    if (o->message || status < 400)
        jw_member_cstr(&w, "message", o->message);
    if (o->msg_id)
        jw_member_cstr(&w, "msg_id", o->msg_id);
    if (o->state)
        jw_member_cstr(&w, "conversation_status", o->state);
    jw_object_end(&w);
    request_reply_json(r, status, &body);
}

void legacy_reply_failed(struct request *r, const char *what, const char *msg_id, struct str id,
                         const struct err *e)
{
    autobuf message = {0};
    buf_addf(&message, "Failed to %s conversation: %s", what, err_text(e));
    legacy_reply_outcome(r, err_http_status(e),
                         &(struct legacy_outcome){.id = id, .message = message.p, .msg_id = msg_id});
}
