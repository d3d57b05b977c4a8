/* agent_config: what an agent is made of; private to agent.c and prompt.c. */
#pragma once
#include "agent/condenser.h"
#include <stdatomic.h>

struct agent {
    atomic_uint refs;
    struct llm *llm;
    struct tool_set tools;
    struct condenser_list condensers;
    struct buf unknown_tool;  /* first name in the configuration that is no tool */
    struct buf system_prompt; /* the client's own, in place of ours */
    struct buf suffix, current_datetime;
    size_t concurrency; /* tools run at once */
    bool has_prompt, has_analyzer;
};
