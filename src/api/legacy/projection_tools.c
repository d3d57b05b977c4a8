/* Tool calls and their results. The terminal, the editor, think and finish have actions of their own in 0.53; every other
 * tool is shown as one of an MCP server, which its clients render by name and arguments. */
#include "api/legacy/projector.h"
#include "base/cleanup.h"
#include "base/utf8.h"

/* ---- actions ---- */

/* What the model said with its call, and its thought if that is what it called for. */
static void thought_of(const struct projector *p, struct buf *out)
{
    projector_texts(json_get(p->event, "thought"), "\n", out);
}

static void write_thought(const struct projector *p, struct json_writer *w)
{
    autobuf thought = {0};
    thought_of(p, &thought);
    jw_member_str(w, "thought", buf_str(&thought));
}

/* -1 unknown, 0 low, 1 medium, 2 high; left out when nobody judged it. */
static void write_risk(const struct projector *p, struct json_writer *w)
{
    static const char *const names[] = {"LOW", "MEDIUM", "HIGH"};
    struct str risk = json_get_str(p->event, "security_risk");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_is(risk, names[i]))
            jw_member_int(w, "security_risk", (int64_t)i);
}

static struct json_writer begin_action(struct projector *p, const char *name, const char *before,
                                       struct str after)
{
    autobuf message = {0};
    buf_add_cstr(&message, before);
    buf_add(&message, after);
    struct json_writer w = projector_begin(p, &(struct projected_head){.source = "agent",
                                                                       .name = name,
                                                                       .is_call = true,
                                                                       .has_usage = true,
                                                                       .message = buf_str(&message)});
    jw_key(&w, "args");
    jw_object(&w);
    return w;
}

static void end_action(struct projector *p, struct json_writer *w)
{
    jw_object_end(w);
    projector_end(p, w);
}

/* `answer`: the user's, to a command that is shown again; NULL: it is new. */
static void write_run(struct projector *p, const struct json_value *action, const char *answer)
{
    struct str command = projector_text(action, "command");
    const struct json_value *timeout = json_get(action, "timeout");
    bool timed = json_type(timeout) == JSON_INT || json_type(timeout) == JSON_FLOAT;
    struct json_writer w = begin_action(p, "run", "Running command: ", command);
    jw_member_str(&w, "command", command);
    jw_member_bool(&w, "is_input", json_get_bool(action, "is_input", false));
    if (answer)
        jw_member_cstr(&w, "thought", ""); /* it was shown */
    else
        write_thought(p, &w);
    jw_member_bool(&w, "blocking", timed);
    jw_member_bool(&w, "is_static", false);
    jw_member_null(&w, "cwd");
    jw_member_bool(&w, "hidden", false);
    if (!answer)
        answer = json_get_bool(p->side, "confirm", false) ? "awaiting_confirmation" : "confirmed";
    jw_member_cstr(&w, "confirmation_state", answer);
    write_risk(p, &w);
    jw_object_end(&w);
    if (timed)
        jw_member_float(&w, "timeout", json_float(timeout, 0));
    projector_end(p, &w);
}

static void project_run(struct projector *p, const struct json_value *action)
{
    write_run(p, action, NULL);
}

bool project_answered(struct projector *p, int64_t seq, const char *answer)
{
    autojson side = NULL;
    autojson call = projector_event(p, seq, &side);
    const struct json_value *own = p->event, *own_side = p->side,
                            *action = json_get(json_root(call), "action");
    if (!json_get_bool(json_root(side), "confirm", false) ||
        !str_is(json_get_str(action, "kind"), "TerminalAction"))
        return false;
    p->event = json_root(call);
    p->side = json_root(side);
    write_run(p, action, answer);
    p->event = own;
    p->side = own_side;
    return true;
}

static void write_or_null(struct json_writer *w, const struct json_value *action, const char *key)
{
    const struct json_value *v = json_get(action, key);
    if (json_is_null(v))
        jw_member_null(w, key);
    else
        jw_member_value(w, key, v);
}

static void project_read(struct projector *p, const struct json_value *action)
{
    struct str path = projector_text(action, "path");
    struct json_writer w = begin_action(p, "read", "Reading file: ", path);
    jw_member_str(&w, "path", path);
    jw_member_int(&w, "start", 0);
    jw_member_int(&w, "end", -1);
    write_thought(p, &w);
    write_risk(p, &w);
    jw_member_cstr(&w, "impl_source", "oh_aci");
    write_or_null(&w, action, "view_range");
    end_action(p, &w);
}

static void project_edit(struct projector *p, const struct json_value *action)
{
    static const char *const own[] = {"file_text", "old_str", "new_str", "insert_line"};
    if (str_is(json_get_str(action, "command"), "view")) {
        project_read(p, action);
        return;
    }
    struct json_writer w = begin_action(p, "edit", "", STR(""));
    jw_member_str(&w, "path", projector_text(action, "path"));
    jw_member_str(&w, "command", projector_text(action, "command"));
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        write_or_null(&w, action, own[i]);
    jw_member_cstr(&w, "content", "");
    jw_member_int(&w, "start", 1);
    jw_member_int(&w, "end", -1);
    write_thought(p, &w);
    write_risk(p, &w);
    jw_member_cstr(&w, "impl_source", "oh_aci");
    end_action(p, &w);
}

static void project_think(struct projector *p, const struct json_value *action)
{
    autobuf thought = {0};
    thought_of(p, &thought);
    struct str own = projector_text(action, "thought");
    if (thought.n > 0 && own.n > 0)
        buf_add_char(&thought, '\n');
    buf_add(&thought, own);
    struct json_writer w = begin_action(p, "think", "I am thinking...: ", buf_str(&thought));
    jw_member_str(&w, "thought", buf_str(&thought));
    end_action(p, &w);
}

static void project_finish(struct projector *p, const struct json_value *action)
{
    autobuf thought = {0};
    thought_of(p, &thought);
    struct json_writer w =
        begin_action(p, "finish", "", thought.n > 0 ? buf_str(&thought) : STR("The task is done."));
    jw_member_str(&w, "final_thought", projector_text(action, "message"));
    jw_member_raw(&w, "outputs", STR("{}"));
    jw_member_str(&w, "thought", buf_str(&thought));
    end_action(p, &w);
}

/* The arguments of any other tool: what its call was given, or as much of it as there is. */
static void write_arguments(const struct json_value *event, struct buf *out)
{
    struct json_writer w = json_writer(out);
    const struct json_value *action = json_get(event, "action"), *data = json_get(action, "data");
    if (str_is(json_get_str(action, "kind"), "MCPToolAction") && json_type(data) == JSON_OBJECT) {
        jw_value(&w, data);
        return;
    }
    jw_object(&w);
    if (json_type(action) != JSON_OBJECT) { /* the call was not valid: what the model had written */
        struct str text = json_get_str(json_get(event, "tool_call"), "arguments");
        autojson given = json_parse(text, NULL, NULL);
        bool is_object = json_type(json_root(given)) == JSON_OBJECT;
        for (struct json_iter it = json_iter(is_object ? json_root(given) : NULL); json_next(&it);) {
            jw_key_str(&w, it.key);
            jw_value(&w, it.value);
        }
        if (!is_object && text.n > 0)
            jw_member_str(&w, "arguments", text);
    }
    for (struct json_iter it = json_iter(json_type(action) == JSON_OBJECT ? action : NULL); json_next(&it);) {
        if (str_is(it.key, "kind") || json_is_null(it.value))
            continue;
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    jw_object_end(&w);
}

static void project_tool(struct projector *p)
{
    struct str name = projector_text(p->event, "tool_name");
    autobuf arguments = {0}, message = {0};
    write_arguments(p->event, &arguments);
    buf_addf(&message, "Using the tool %.*s with:\n```\n", STR_ARG(name));
    buf_add(&message, buf_str(&arguments));
    buf_add(&message, STR("\n```"));
    struct json_writer w = begin_action(p, "call_tool_mcp", "", buf_str(&message));
    jw_member_str(&w, "name", name);
    jw_member_raw(&w, "arguments", buf_str(&arguments));
    write_thought(p, &w);
    write_risk(p, &w);
    end_action(p, &w);
}

/* ---- observations ---- */

static struct projected_head observation_head(const struct projector *p, const char *name, struct str message)
{
    return (struct projected_head){.source = "agent",
                                   .name = name,
                                   .is_observation = true,
                                   .is_call = true,
                                   .cause = projector_cause(p),
                                   .message = message};
}

/* Adds `text`, without its middle if it is longer than clients expect. */
static void add_cut(struct buf *out, struct str text)
{
    if (text.n <= PROJECTED_TEXT_MAX || utf8_count(text) <= PROJECTED_TEXT_MAX) {
        buf_add(out, text);
        return;
    }
    buf_add(out, utf8_prefix(text, PROJECTED_TEXT_MAX / 2));
    buf_add(out, STR("\n[… the middle of the output is left out …]\n"));
    buf_add(out, utf8_suffix(text, PROJECTED_TEXT_MAX / 2));
}

static void write_metadata(struct json_writer *w, const struct json_value *metadata, int64_t exit_code)
{
    static const char *const texts[] = {"username", "hostname", "working_dir", "py_interpreter_path",
                                        "prefix",   "suffix"};
    jw_key(w, "metadata");
    jw_object(w);
    jw_member_int(w, "exit_code", exit_code);
    jw_member_int(w, "pid", json_get_int(metadata, "pid", -1));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct str text = json_get_str(metadata, texts[i]);
        bool fix = i >= 4; /* never null there */
        jw_member_str(w, texts[i], text.p ? text : fix ? STR("") : STR_NONE);
    }
    jw_object_end(w);
}

static void project_output(struct projector *p, const struct json_value *o, struct str content)
{
    const struct json_value *metadata = json_get(o, "metadata");
    int64_t exit_code = json_get_int(o, "exit_code", json_get_int(metadata, "exit_code", -1));
    struct str command = projector_text(o, "command");
    autobuf message = {0}, cut = {0};
    buf_add(&message, STR("Command `"));
    buf_add(&message, command);
    buf_addf(&message, "` executed with exit code %lld.", (long long)exit_code);
    add_cut(&cut, content);
    struct projected_head head = observation_head(p, "run", buf_str(&message));
    struct json_writer w = projector_begin(p, &head);
    jw_member_str(&w, "content", buf_str(&cut));
    jw_key(&w, "extras");
    jw_object(&w);
    jw_member_str(&w, "command", command);
    write_metadata(&w, metadata, exit_code);
    jw_member_bool(&w, "hidden", false);
    jw_object_end(&w);
    jw_member_bool(&w, "success", exit_code == 0);
    projector_end(p, &w);
}

static void project_file_read(struct projector *p, struct str path, struct str content)
{
    autobuf message = {0};
    buf_add(&message, STR("I read the file "));
    buf_add(&message, path);
    buf_add_char(&message, '.');
    struct projected_head head = observation_head(p, "read", buf_str(&message));
    struct json_writer w = projector_begin(p, &head);
    jw_member_str(&w, "content", content);
    jw_key(&w, "extras");
    jw_object(&w);
    jw_member_str(&w, "path", path);
    jw_member_cstr(&w, "impl_source", "oh_aci");
    jw_object_end(&w);
    projector_end(p, &w);
}

static void project_file(struct projector *p, const struct json_value *o, struct str content)
{
    struct str path = projector_text(o, "path");
    if (str_is(json_get_str(o, "command"), "view")) {
        project_file_read(p, path, content);
        return;
    }
    struct str old_text = json_get_str(o, "old_content"), new_text = json_get_str(o, "new_content");
    autojson call = projector_event(p, json_get_int(p->side, "cause", -1), NULL);
    const struct json_value *action = json_get(json_root(call), "action");
    autobuf message = {0}, diff = {0};
    buf_add(&message, STR("I edited the file "));
    buf_add(&message, path);
    buf_add_char(&message, '.');
    if (new_text.p)
        project_diff(path, old_text.p ? old_text : STR(""), new_text, &diff);
    struct projected_head head = observation_head(p, "edit", buf_str(&message));
    struct json_writer w = projector_begin(p, &head);
    jw_member_str(&w, "content", content);
    jw_key(&w, "extras");
    jw_object(&w);
    jw_member_str(&w, "path", path);
    jw_member_bool(&w, "prev_exist", json_get_bool(o, "prev_exist", true));
    jw_member_str(&w, "old_content", json_get_str(action, "old_str")); /* not the file's: what was given */
    jw_member_str(&w, "new_content", json_get_str(action, "new_str"));
    jw_member_cstr(&w, "impl_source", "oh_aci");
    jw_member_str(&w, "diff", buf_str(&diff));
    jw_member_null(&w, "_diff_cache");
    jw_object_end(&w);
    projector_end(p, &w);
}

static void project_thought(struct projector *p, const struct json_value *o, struct str content)
{
    (void)o;
    struct projected_head head = observation_head(p, "think", content);
    projector_observation(p, &head, content);
}

static void project_nothing(struct projector *p, const struct json_value *o, struct str content)
{
    (void)p;
    (void)o;
    (void)content;
}

/* An image as MCP tells it; one that is not in the text itself is told by its address. */
static void write_image(struct json_writer *w, struct str url)
{
    static const char mark[] = ";base64,";
    ssize_t at = str_starts(url, STR("data:")) ? str_find(url, str_from(mark)) : -1;
    jw_object(w);
    if (at > 0) {
        jw_member_cstr(w, "type", "image");
        jw_member_str(w, "data", str_sub(url, (size_t)at + sizeof(mark) - 1, url.n));
        jw_member_str(w, "mimeType", str_sub(url, 5, (size_t)at));
    } else {
        jw_member_cstr(w, "type", "text");
        jw_member_str(w, "text", url);
    }
    jw_object_end(w);
}

static void write_mcp_content(struct json_writer *w, const struct json_value *content)
{
    jw_array(w);
    for (struct json_iter it = json_iter(content); json_next(&it);) {
        struct str text = json_get_str(it.value, "text");
        if (text.p) {
            jw_object(w);
            jw_member_cstr(w, "type", "text");
            jw_member_str(w, "text", text);
            jw_object_end(w);
        }
        for (struct json_iter url = json_iter(json_get(it.value, "image_urls")); json_next(&url);)
            if (json_type(url.value) == JSON_STRING)
                write_image(w, json_str(url.value));
    }
    jw_array_end(w);
}

static void project_tool_result(struct projector *p, const struct json_value *o, struct str content)
{
    (void)content;
    autobuf result = {0}, arguments = {0};
    autojson call = projector_event(p, json_get_int(p->side, "cause", -1), NULL);
    write_arguments(json_root(call), &arguments);
    struct json_writer r = json_writer(&result);
    jw_object(&r);
    jw_member_null(&r, "meta");
    jw_key(&r, "content");
    write_mcp_content(&r, json_get(o, "content"));
    jw_member_bool(&r, "isError", json_get_bool(o, "is_error", false));
    jw_object_end(&r);
    struct projected_head head = observation_head(p, "mcp", buf_str(&result));
    struct json_writer w = projector_begin(p, &head);
    jw_member_str(&w, "content", buf_str(&result));
    jw_key(&w, "extras");
    jw_object(&w);
    jw_member_str(&w, "name", projector_text(p->event, "tool_name"));
    jw_member_raw(&w, "arguments", buf_str(&arguments));
    jw_object_end(&w);
    projector_end(p, &w);
}

static void project_failure(struct projector *p, struct str content)
{
    struct projected_head head = observation_head(p, "error", content);
    struct json_writer w = projector_begin(p, &head);
    jw_member_str(&w, "content", content);
    jw_key(&w, "extras");
    jw_object(&w);
    jw_member_cstr(&w, "error_id", "");
    jw_object_end(&w);
    projector_end(p, &w);
}

/* ---- the table ---- */

static const struct tool_projection {
    const char *action, *observation; /* kinds */
    void (*act)(struct projector *p, const struct json_value *action);
    void (*observe)(struct projector *p, const struct json_value *o, struct str content);
} tools[] = {
    {"TerminalAction", "TerminalObservation", project_run, project_output},
    {"ExecuteBashAction", "ExecuteBashObservation", project_run, project_output}, /* of older logs */
    {"FileEditorAction", "FileEditorObservation", project_edit, project_file},
    {"PlanningFileEditorAction", "PlanningFileEditorObservation", project_edit, project_file},
    {"ThinkAction", "ThinkObservation", project_think, project_thought},
    {"FinishAction", "FinishObservation", project_finish, project_nothing},
};

void project_action(struct projector *p)
{
    const struct json_value *action = json_get(p->event, "action");
    struct str kind = json_get_str(action, "kind");
    for (size_t i = 0; i < ARRAY_LEN(tools); i++)
        if (str_is(kind, tools[i].action)) {
            tools[i].act(p, action);
            return;
        }
    project_tool(p);
}

void project_observation(struct projector *p)
{
    const struct json_value *o = json_get(p->event, "observation");
    struct str kind = json_get_str(o, "kind");
    autobuf content = {0};
    if (json_type(o) != JSON_OBJECT)
        return;
    projector_texts(json_get(o, "content"), "\n", &content);
    bool failed = json_get_bool(o, "is_error", false);
    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        if (!str_is(kind, tools[i].observation))
            continue;
        if (failed)
            project_failure(p, buf_str(&content));
        else
            tools[i].observe(p, o, buf_str(&content));
        return;
    }
    project_tool_result(p, o, buf_str(&content));
}
