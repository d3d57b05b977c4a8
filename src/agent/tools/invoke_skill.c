/* The invoke_skill tool: gives the model a skill's text. Commands in it (!`like this`) are replaced by their output, as its
 * author meant it, but only where the agent may run commands and nobody wants to see them first: they come with the
 * workspace and are as little to be trusted as it. Everything that touches the workspace is a call to the hand. */
#include "agent/internal.h"
#include "base/path.h"
#include "base/utf8.h"

#define COMMAND_MS 10000                      /* for each command in a skill */
#define COMMANDS_MAX 16                       /* in one skill; further ones stay as they are */
#define COMMAND_OUTPUT_MAX (50 * 1024)        /* bytes kept of each */
#define COMMAND_OUTPUT_READ_MAX (1024 * 1024) /* a command that writes more has failed */
#define STAT_MS 5000
/* Marker: a test of the reference's client compares this ending. */
#define FOOTER_END "are relative to that directory."

struct invoke_skill_arguments {
    struct str name;
};

static const struct json_field fields[] = {
    {.name = "name",
     .type = FIELD_STR,
     .offset = offsetof(struct invoke_skill_arguments, name),
     .flags = FIELD_REQUIRED,
     .doc = "Name of the skill, as <available_skills> has it."},
};

static const struct json_schema schema = {
    .name = "InvokeSkillAction",
    .size = sizeof(struct invoke_skill_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

static void add_names(const struct skill_set *set, struct buf *out)
{
    size_t n = 0;
    for (size_t i = 0; set && i < set->list.n; i++) {
        const struct skill *s = set->list.at[i];
        if (s->trigger_only)
            continue;
        buf_add(out, n++ ? STR(", ") : STR(""));
        buf_add(out, s->name);
    }
    if (n == 0)
        buf_add(out, STR("none"));
}

static bool has_terminal(const struct tool_run *run)
{
    return run->host->runs_commands && run->host->policy.kind == POLICY_NEVER;
}

/* ---- commands ---- */

/* False: interrupted. Otherwise what stands in the command's place. */
static bool command_run(const struct tool_run *run, struct str command, struct buf *out, struct err **e)
{
    struct buf call = {0};
    autobuf result = {0}, data = {0};
    autoerr why = NULL;
    wire_add_str(&call, F_COMMAND, command);
    wire_add_int(&call, F_INPUT, 0);
    wire_add_int(&call, F_TIMEOUT_MS, COMMAND_MS);
    bool ok = hand_call_wait(run->host->hands, &run->host->hand, OP_SPAWN, &call, COMMAND_MS + 1000,
                             run->host->mailbox, &result, &data, COMMAND_OUTPUT_READ_MAX, &why);
    int64_t code = wire_get_int(buf_str(&result), F_EXIT_CODE, -1);
    bool timed_out = ok && wire_get_int(buf_str(&result), F_STATUS, WIRE_OK) == WIRE_TIMEOUT;
    if (!ok && why && why->kind == ERR_CANCELLED)
        return tool_call_failed(e, why);
    struct str text = tool_masked(run, buf_str(&data));
    if (!ok)
        buf_addf(out, "[This command of the skill could not be run: %s]", err_text(why));
    else if (timed_out)
        buf_addf(out, "[This command of the skill was ended after %d s]", COMMAND_MS / 1000);
    else if (code != 0)
        buf_addf(out, "[This command of the skill ended with exit code %lld]", (long long)code);
    if (ok && !timed_out && code == 0) {
        text = str_trim(text);
        buf_add(out, utf8_prefix_bytes(text, COMMAND_OUTPUT_MAX));
        if (text.n > COMMAND_OUTPUT_MAX)
            buf_add(out, STR("\n[… the rest of this output is left out]"));
    }
    return true;
}

/* Code in fences or between back quotes is text; only !`…` is a command, and \!`…` writes one down. Takes the next piece
 * off `rest`; `command` is set if it is one. */
static struct str piece_take(struct str *rest, struct str *command)
{
    size_t n = 1;
    *command = STR_NONE;
    bool fence = str_starts(*rest, STR("```"));
    bool escaped = str_starts(*rest, STR("\\!`")), bang = str_starts(*rest, STR("!`"));
    size_t open = escaped ? 3 : bang ? 2 : 1;
    if (fence) {
        ssize_t end = str_find(str_sub(*rest, 3, rest->n), STR("```"));
        n = end < 0 ? rest->n : (size_t)end + 6;
    } else if (escaped || bang || rest->p[0] == '`') {
        ssize_t end = str_find_char(str_sub(*rest, open, rest->n), '`');
        n = end > 0 ? open + (size_t)end + 1 : 1;
        if (end > 0 && bang)
            *command = str_sub(*rest, open, open + (size_t)end);
    } else {
        while (n < rest->n && str_find_char(STR("`!\\"), rest->p[n]) < 0)
            n++;
    }
    struct str piece = str_sub(*rest, escaped && n > 1 ? 1 : 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return piece;
}

static bool render(const struct tool_run *run, struct str content, struct buf *out, struct err **e)
{
    unsigned commands = 0;
    if (!has_terminal(run)) {
        buf_add(out, content);
        return true;
    }
    while (content.n > 0) {
        struct str command, piece = piece_take(&content, &command);
        if (!command.p || commands == COMMANDS_MAX)
            buf_add(out, piece);
        else if (!command_run(run, command, out, e))
            return false;
        commands += command.p != NULL;
    }
    return true;
}

/* ---- where it is ---- */

/* False: interrupted. */
static bool footer_add(const struct tool_run *run, struct str source, struct buf *out, struct err **e)
{
    struct buf call = {0};
    autobuf result = {0}, dir = {0}, root = {0};
    autoerr why = NULL;
    if (source.n == 0)
        return true;
    wire_add_str(&call, F_PATH, source);
    bool ok = hand_call_wait(run->host->hands, &run->host->hand, OP_FILE_STAT, &call, STAT_MS,
                             run->host->mailbox, &result, NULL, 0, &why);
    if (!ok && why && why->kind == ERR_CANCELLED)
        return tool_call_failed(e, why);
    if (!ok || wire_get_int(buf_str(&result), F_STATUS, WIRE_IO) != WIRE_OK ||
        !str_is(wire_get_str(buf_str(&result), F_KIND), "f"))
        return true; /* it came from elsewhere */
    path_normalize(&dir, path_dir(source));
    path_normalize(&root, run->host->hand.working_dir);
    struct str shown = buf_str(&dir);
    if (path_is_beneath(buf_str(&root), shown) && root.n > 1)
        shown = shown.n > root.n ? str_sub(shown, root.n + 1, shown.n) : STR(".");
    buf_addf(
        out,
        "\n\n---\nThis skill lies in `%.*s`. Files that it names (scripts, references, assets) " FOOTER_END,
        STR_ARG(shown));
    return true;
}

static bool invoke_skill_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    struct str name = str_trim(json_get_str(run->action, "name"));
    const struct skill_set *set = run->host->skills;
    const struct skill *s = set ? skill_set_find(set, name) : NULL;
    struct json_writer w = json_writer(&result->observation);
    w.depth = 1;
    jw_member_str(&w, "skill_name", tool_masked(run, name));
    if (s && !s->trigger_only)
        return render(run, s->content, &result->text, e) && footer_add(run, s->source, &result->text, e);
    result->is_error = true;
    buf_addf(&result->text, "There is no skill '%.*s' that can be loaded. Skills: ",
             STR_ARG(str_sub(name, 0, SKILL_NAME_MAX)));
    if (s) {
        buf_clear(&result->text);
        buf_addf(&result->text,
                 "The skill '%.*s' cannot be loaded: it is added by itself where it applies. Others: ",
                 STR_ARG(name));
    }
    add_names(set, &result->text);
    return true;
}

const struct tool tool_invoke_skill = {
    .name = "invoke_skill",
    .kind = "InvokeSkillTool",
    .action = "InvokeSkillAction",
    .observation = "InvokeSkillObservation",
    .description =
        "Loads a skill: answers the whole text of one that the system prompt lists in <available_skills>, and says where "
        "its files are. Follow what it says for the task at hand.",
    .parameters = &schema,
    .read_only = true,
    .idempotent = true,
    .is_automatic = true,
    .text_param = "name",
    .run = invoke_skill_run,
};
