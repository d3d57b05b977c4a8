/* start: the decoded request that starts a conversation, and checks that other routes use too. */
#pragma once
#include "api/agent_server/app.h"

struct start_workspace {
    struct str working_dir, kind;
    bool git_init;
};
struct start_additions {
    struct str suffix;
};
struct start_args {
    const struct start_workspace *workspace;
    const void *agent_checked,
        *settings_checked; /* not NULL when they were given; start_agent has the JSON */
    struct uuid agent_profile_id, conversation_id, parent;
    bool has_profile, has_parent;
    bool worktree, stuck_detection, secrets_encrypted, autotitle;
    const struct json_value *confirmation_policy, *security_analyzer, *initial_message;
    int64_t max_iterations;
    const struct json_value *secrets, *client_tools, *agent_definitions, *plugins, *hook_config, *tags;
    const struct json_value *observability_tags, *ignored;
    const struct start_additions *additions;
    struct str user_id, span_name, title_llm_profile;
};

bool tags_check(const struct json_value *tags, const struct json_path *body, struct json_problems *problems);
bool secrets_check(const struct json_value *secrets, const struct json_path *body,
                   struct json_problems *problems);
bool analyzer_check(const struct json_value *v, const struct json_path *path, struct json_problems *problems);

/* agent_schema.c */
extern const struct json_schema llm_schema, agent_schema, settings_schema;
