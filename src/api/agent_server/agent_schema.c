/* What an agent and its model look like on the wire. Both are kept and passed on as JSON, as they came: the tables check
 * types and bounds and describe them in the OpenAPI document. The structs they decode into are of no use, so fields of
 * one type share a member. */
#include "api/agent_server/start.h"
#include "base/cleanup.h"

struct scratch {
    struct str text;
    bool flag;
    int64_t number;
    double real;
    int choice;
    const void *object;
    struct json_list list;
};

#define AT(member) .offset = offsetof(struct scratch, member)
#define TEXT(key, about)                                       \
    {                                                          \
        .name = key, .type = FIELD_STR, AT(text), .doc = about \
    }
#define FLAG(key, otherwise, about)                                                       \
    {                                                                                     \
        .name = key, .type = FIELD_BOOL, AT(flag), .default_int = otherwise, .doc = about \
    }
#define INTEGER(key, low, otherwise, about)                                                                 \
    {                                                                                                       \
        .name = key, .type = FIELD_INT, AT(number), .min = low, .max = INT64_MAX, .default_int = otherwise, \
        .doc = about                                                                                        \
    }
#define NUMBER(key, high, about)                                                        \
    {                                                                                   \
        .name = key, .type = FIELD_FLOAT, AT(real), .min = 0, .max = high, .doc = about \
    }
#define OBJECT(key, about)                                          \
    {                                                               \
        .name = key, .type = FIELD_OBJECT, AT(object), .doc = about \
    }

/* ---- LLM ---- */

static const char *const auth_types[] = {"api_key", "subscription", NULL};
static const char *const api_modes[] = {"auto", "chat", "responses", NULL};

static const struct json_field llm_fields[] = {
    {.name = "model",
     .type = FIELD_STR,
     AT(text),
     .min = 1,
     .max = 512,
     .flags = FIELD_REQUIRED,
     .doc = "Its name, with a provider in front if that is not clear."},
    TEXT("api_key", "Its key; shown as asterisks."),
    TEXT("base_url", "Where it is; http or https."),
    TEXT("usage_id", "Name under which its use is counted."),
    {.name = "auth_type",
     .type = FIELD_ENUM,
     AT(choice),
     .names = auth_types,
     .doc = "How the server shows who it is."},
    {.name = "api_mode",
     .type = FIELD_ENUM,
     AT(choice),
     .names = api_modes,
     .doc = "Which of the provider's interfaces to use."},
    TEXT("provider_connection_id", "A stored connection."),
    TEXT("subscription_vendor", "Whose subscription."),
    TEXT("api_version", "Version of the provider's interface."),
    TEXT("model_canonical_name", "The model's own name, where `model` is an alias."),
    INTEGER("num_retries", 0, 5, "How often to try again."),
    NUMBER("retry_multiplier", INT64_MAX, "By how much each wait is longer than the one before."),
    INTEGER("retry_min_wait", 0, 8, "Shortest wait in seconds."),
    INTEGER("retry_max_wait", 0, 64, "Longest wait in seconds."),
    INTEGER("timeout", 0, 300, "Seconds for one answer."),
    INTEGER("max_message_chars", 1, 30000, "Most characters of one tool result that the model sees."),
    NUMBER("temperature", INT64_MAX, "Sampling temperature."),
    NUMBER("top_p", 1, "Nucleus sampling."),
    NUMBER("top_k", INT64_MAX, "Sampling among the k best."),
    INTEGER("max_input_tokens", 1, 0, "Size of the context window."),
    INTEGER("max_output_tokens", 1, 0, "Longest answer."),
    NUMBER("input_cost_per_token", INT64_MAX, "Dollars."),
    NUMBER("output_cost_per_token", INT64_MAX, "Dollars."),
    FLAG("stream", 0, "Ask for the answer in pieces."),
    FLAG("drop_params", 1, "Leave out parameters that a provider does not know."),
    FLAG("modify_params", 1, "Change parameters to what a provider accepts."),
    FLAG("disable_vision", 0, "Send no images."),
    FLAG("disable_stop_word", 0, "Send no stop words."),
    FLAG("caching_prompt", 1, "Mark prompts for caching."),
    FLAG("log_completions", 0, "Record each exchange."),
    FLAG("native_tool_calling", 1, "Use the provider's own form of tool calls."),
    FLAG("force_string_serializer", 0, "Send contents as plain strings."),
    FLAG("inline_image_urls", 0, "Send images as data."),
    FLAG("enable_encrypted_reasoning", 1, "Keep encrypted reasoning between calls."),
    TEXT("reasoning_effort", "low, medium, high, or another word that the model knows."),
    TEXT("reasoning_summary", "Which summary of its reasoning to ask for."),
    TEXT("prompt_cache_retention", "How long a provider keeps cached prompts."),
    INTEGER("extended_thinking_budget", 0, 200000, "Most tokens of thinking."),
    {.name = "seed", .type = FIELD_INT, AT(number), .doc = "For answers that can be repeated."},
    OBJECT("capability_overrides", "What the model can do, where that is not known."),
    OBJECT("extra_headers", "Headers for each of its requests."),
    OBJECT("litellm_extra_body", "Members for the body of each of its requests."),
};
const struct json_schema llm_schema = {.name = "LLM",
                                       .size = sizeof(struct scratch),
                                       .fields = llm_fields,
                                       .count = ARRAY_LEN(llm_fields),
                                       .doc = "A model and how to use it."};

/* ---- Agent ---- */

static const struct json_field skill_fields[] = {
    {.name = "name", .type = FIELD_STR, AT(text), .flags = FIELD_REQUIRED, .doc = "Its name."},
    TEXT("content", "What the agent is told."),
    TEXT("source", "Where it was read from."),
    TEXT("description", "When to use it, in a sentence or two."),
    {.name = "trigger",
     .type = FIELD_ANY,
     AT(object),
     .doc =
         "What brings it in: {\"type\": \"keyword\", \"keywords\": […]}, task with triggers, or path with paths; or a "
         "list of words.",
     .json_schema = "{\"anyOf\":[{\"type\":\"object\"},{\"type\":\"array\",\"items\":{\"type\":\"string\"}},{"
                    "\"type\":\"null\"}]}"},
    FLAG("is_agentskills_format", 0, "The model loads it itself, by invoke_skill."),
    FLAG("disable_model_invocation", 0, "Only its trigger brings it in."),
};
static const struct json_schema skill_schema = {.name = "Skill",
                                                .size = sizeof(struct scratch),
                                                .fields = skill_fields,
                                                .count = ARRAY_LEN(skill_fields)};

static const struct json_field context_fields[] = {
    {.name = "skills",
     .type = FIELD_ARRAY,
     AT(list),
     .schema = &skill_schema,
     .doc = "What the agent knows beforehand."},
    TEXT("system_message_suffix", "Text behind the system prompt."),
    TEXT("user_message_suffix", "Text behind each user message."),
    FLAG("load_project_skills", 0, "With the skills and guides (AGENTS.md …) of the workspace."),
    FLAG("load_user_skills", 0, "With the skills of the server user's home directory."),
    FLAG("load_public_skills", 0, "Accepted; this server has no public skills."),
    {.name = "disabled_skills",
     .type = FIELD_ARRAY,
     .item = FIELD_STR,
     AT(list),
     .doc = "Names of skills to leave out."},
};
static const struct json_schema context_schema = {.name = "AgentContext",
                                                  .size = sizeof(struct scratch),
                                                  .fields = context_fields,
                                                  .count = ARRAY_LEN(context_fields)};

#define LLM_FIELD                                                                                        \
    {                                                                                                    \
        .name = "llm", .type = FIELD_OBJECT, AT(object), .flags = FIELD_REQUIRED, .schema = &llm_schema, \
        .doc = "The model that drives it."                                                               \
    }
#define CONTEXT_FIELD                                                                         \
    {                                                                                         \
        .name = "agent_context", .type = FIELD_OBJECT, AT(object), .schema = &context_schema, \
        .doc = "What goes into its prompts."                                                  \
    }
/* One object in place of a list of them is what the first documentation shows. */
#define TOOLS_FIELD                                                                                       \
    {                                                                                                     \
        .name = "tools", .type = FIELD_ANY, AT(object), .doc = "Its tools, each with a name and params.", \
        .json_schema =                                                                                    \
            "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":"      \
            "\"string\"},\"params\":{\"type\":\"object\"}},\"required\":[\"name\"]}}"                     \
    }

static const struct json_field agent_fields[] = {
    LLM_FIELD,
    TOOLS_FIELD,
    TEXT("kind", "Agent."),
    OBJECT("mcp_config", "MCP servers by name."),
    TEXT("filter_tools_regex", "Only tools whose name it matches."),
    {.name = "include_default_tools",
     .type = FIELD_ARRAY,
     .item = FIELD_STR,
     AT(list),
     .doc = "FinishTool and ThinkTool unless said otherwise."},
    CONTEXT_FIELD,
    TEXT("system_prompt",
         "A system prompt in place of the server's; a Jinja template if there are kwargs for it."),
    TEXT("system_prompt_filename", "Name of one of the server's, or a template's absolute path."),
    TEXT("security_policy_filename", "Name of a security policy."),
    OBJECT("system_prompt_kwargs", "Values for the system prompt."),
    OBJECT("condenser", "What shortens a long history."),
    OBJECT("critic", "What judges results."),
    OBJECT("security_analyzer", "Former place of the conversation's analyzer."),
    INTEGER("tool_concurrency_limit", 1, 1, "Most tool calls at once."),
};
const struct json_schema agent_schema = {.name = "Agent",
                                         .size = sizeof(struct scratch),
                                         .fields = agent_fields,
                                         .count = ARRAY_LEN(agent_fields)};

static const struct json_field condenser_fields[] = {
    FLAG("enabled", 1, "Shorten a long history."),
    INTEGER("max_size", 1, 240, "Most events before it is shortened."),
    INTEGER("keep_first", 0, 2, "First events that are always kept."),
};
static const struct json_schema condenser_schema = {.name = "CondenserSettings",
                                                    .size = sizeof(struct scratch),
                                                    .fields = condenser_fields,
                                                    .count = ARRAY_LEN(condenser_fields)};

static const struct json_field settings_fields[] = {
    LLM_FIELD,
    TOOLS_FIELD,
    TEXT("agent_kind", "openhands."),
    OBJECT("mcp_config", "MCP servers by name."),
    CONTEXT_FIELD,
    {.name = "condenser",
     .type = FIELD_OBJECT,
     AT(object),
     .schema = &condenser_schema,
     .doc = "When to shorten a long history."},
};
const struct json_schema settings_schema = {.name = "AgentSettings",
                                            .size = sizeof(struct scratch),
                                            .fields = settings_fields,
                                            .count = ARRAY_LEN(settings_fields)};
