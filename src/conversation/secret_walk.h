/* secret_walk: copies an agent object or a secret registry with its secrets sealed, opened or shown as asterisks. Where
 * secrets live is one table (reference §4.4): API and AWS keys of any LLM object, environment and headers of MCP
 * servers, values of secret sources. */
#pragma once
#include "json/writer.h"
#include "store/secret.h"

#define SECRET_SHOWN "**********" /* marker: what clients see and may send back for "no value" */

/* ADOPT: sealed anew, whether it was plain or sealed with any key that is known; what no key opens stays as it is. */
enum secret_mode { SECRET_SEAL, SECRET_OPEN, SECRET_SHOW, SECRET_ADOPT };

struct secret_walk {
    enum secret_mode mode;
    const struct secrets *secrets; /* not SHOW */
    bool empty_skills;             /* agent_context.skills becomes [] */
    struct buf unopened; /* OPEN, ADOPT: name of the first secret that no key opens; deinit by the caller */
};

void secret_walk_agent(struct secret_walk *walk, const struct json_value *agent, struct json_writer *w);
/* {name: "text" | {value} | SecretSource} → {name: {kind, …}}. */
bool secret_walk_registry(struct secret_walk *walk, const struct json_value *registry, struct json_writer *w,
                          struct err **e);
