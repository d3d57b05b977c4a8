/* agent_config: what an agent is made of; private to agent.c and prompt.c. */
#pragma once
#include "agent/condenser/condenser.h"
#include "agent/internal.h"
#include "agent/skill/skill.h"
#include <stdatomic.h>

struct tool_filter;
struct tool_filter *tool_filter_new(struct str pattern, struct err **e);
void tool_filter_free(struct tool_filter *f); /* NULL is allowed */

struct agent {
    atomic_uint refs;
    struct llm *llm;
    struct tool_set tools;
    struct condenser_list condensers;
    struct buf unknown_tool;  /* first name in the configuration that is no tool */
    struct buf system_prompt; /* the client's own, in place of ours */
    struct buf suffix, current_datetime;
    size_t concurrency;         /* tools run at once */
    struct buf mcp_servers;     /* JSON; empty: none */
    struct tool_filter *filter; /* or NULL */
    bool has_prompt, has_analyzer;
    /* context.c */
    struct arena *arena;         /* of skills */
    struct skill_set own_skills; /* the configuration's */
    struct skill_set skills;     /* all that it works with */
    struct json_doc *variables;  /* of a template, or NULL */
    struct json_doc *disabled;   /* names of skills to leave out, or NULL */
    struct buf user_suffix, template_path;
    struct agent_wants wants;
    bool planning; /* the prompt of an agent that plans and changes nothing */
};

/* context.c: what the agent's context and prompt members say. Errors name the member. */
bool context_read(struct agent *a, const struct json_value *config, struct err **e);
void context_deinit(struct agent *a);
