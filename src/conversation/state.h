/* state: what belongs to a conversation beside its log, as immutable counted values. `config` changes rarely (agent,
 * secrets), `doc` now and then (policy, title, tags), `stats` with each model call, `state` with each commit; a newer
 * state shares what did not change with the older one. Any thread may read and hold references. */
#pragma once
#include "agent/agent.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "store/secret.h"
#include "store/store.h"

/* ---- config ---- */

struct config {
    atomic_uint refs;
    struct bytes *stored;                     /* JSON of the row, secrets sealed */
    struct bytes *agent_shown;                /* masked agent object, agent_context.skills emptied */
    struct bytes *agent_skills;               /* the same with the skills */
    struct bytes *registry;                   /* {"secret_sources":{…}}, masked */
    struct bytes *hook_config, *client_tools; /* JSON or NULL */
    struct hook_config *hooks;                /* the first of them decoded, or NULL */
    struct str working_dir;                   /* in `stored`'s document */
    int64_t max_iterations;
    bool stuck_detection, autotitle;
    bool has_parent, has_found; /* found: the files that the agent asked for were read */
    struct uuid parent;
    struct agent *agent; /* NULL when it cannot be used; then `problem` says why */
    struct err *problem;
    struct mask *mask;        /* secrets that are fetched have their names in it, without values */
    struct json_doc *lookups; /* {name: {url, headers}} of those; NULL: none */
    struct json_doc *doc;     /* of `stored` */
};

/* From what a client sent. Seals secrets. ERR_INVALID names what is wrong. */
struct config_source {
    const struct json_value *agent, *secrets, *hook_config, *client_tools;
    struct str working_dir;
    int64_t max_iterations;
    bool stuck_detection, autotitle;
    const struct uuid *parent;
    const struct json_value *origin;
};
struct config *config_make(const struct config_source *source, const struct secrets *secrets,
                           const char *(*env)(const char *), struct err **e);
/* From what another server stored: its secrets are sealed anew. Never fails on an agent that cannot be used here, see
 * config_load. */
struct config *config_adopt(const struct config_source *source, const struct secrets *secrets,
                            const char *(*env)(const char *), struct err **e);
/* From the row. Never fails on secrets that no key opens: `agent` is NULL then and `problem` names the secret. */
struct config *config_load(struct str stored, const struct secrets *secrets, const char *(*env)(const char *),
                           struct err **e);
/* A copy with secrets of the registry added or replaced. */
struct config *config_with_secrets(const struct config *c, const struct json_value *added,
                                   const struct secrets *secrets, const char *(*env)(const char *),
                                   struct err **e);
/* A copy with what was read for the agent (JSON, see agent_give_found). */
struct config *config_with_found(const struct config *c, struct str found, const struct secrets *secrets,
                                 const char *(*env)(const char *), struct err **e);
struct config *config_ref(struct config *c);
void config_unref(struct config *c);

/* ---- doc ---- */

struct doc {
    atomic_uint refs;
    struct policy policy;
    struct bytes *analyzer, *tags, *title;            /* JSON, JSON, text; NULL: null, {} and null */
    struct bytes *blocked_actions, *blocked_messages; /* {id: reason} by hooks; NULL: {} */
    struct bytes *initial;   /* JSON of a first message that is not in the log yet; or NULL */
    struct bytes *activated; /* JSON list: skills that messages have brought in; NULL: none */
    struct bytes *invoked;   /* … that the model has loaded */
    struct bytes *rules;     /* … that files have brought in */
    bool has_last_user;
    struct uuid last_user; /* id of the last user message */
    bool saved;            /* outputs lie in files on the hand's side (agent/tools/save.c) */
    int64_t open_from;     /* seq of the first action of the open batch; -1: no step under way */
};
struct doc *doc_new(void);
struct doc *doc_copy(const struct doc *d);
struct doc *doc_ref(struct doc *d);
void doc_unref(struct doc *d);
void doc_write(const struct doc *d, struct buf *out); /* the row's `state` */
struct doc *doc_load(struct str text, struct str title, struct err **e);

/* ---- stats ---- */

struct usage_total {                         /* of one usage id */
    struct str usage_id, model, response_id; /* owned by the stats */
    double cost;
    int64_t prompt, completion, cache_read, cache_write, reasoning, context_window, per_turn;
};
struct stats {
    atomic_uint refs;
    uint64_t serial; /* 0: nothing yet; grows with each call */
    size_t n;
    struct usage_total at[];
};
struct stats *stats_from_sums(const struct store_usage_sum *sums, size_t n);
struct stats *stats_add(const struct stats *old, struct str usage_id, struct str model,
                        const struct llm_usage *usage);
struct stats *stats_ref(struct stats *s);
void stats_unref(struct stats *s);
/* {"usage_to_metrics":{…}}; `lists` adds the empty lists of Metrics that the snapshot form lacks. */
void stats_write_sum(const struct stats *s, struct json_writer *w); /* of all usage ids, or null */
void stats_write(const struct stats *s, bool lists, struct json_writer *w);

/* ---- state ---- */

struct state {
    atomic_uint refs;
    struct uuid id;
    enum status status;
    uint32_t next_seq, branch;
    int64_t leaf_seq; /* -1: none */
    struct uuid leaf;
    int64_t last_us;       /* time of the last event */
    int64_t last_local_us; /* … on the local clock face, as its timestamp shows it */
    int64_t created_us, updated_us;
    struct config *config;
    struct doc *doc;
    struct stats *stats;
};
struct state *state_new(void);
struct state *state_copy(const struct state *s); /* one reference, to be changed before it is shared */
struct state *state_ref(struct state *s);
void state_unref(struct state *s);
void state_set_doc(struct state *s, struct doc *d);       /* takes the reference */
void state_set_config(struct state *s, struct config *c); /* likewise */
void state_set_stats(struct state *s, struct stats *t);

/* ConversationInfo with both generations of names. */
void state_write_info(const struct state *s, struct str conversations_path, bool with_skills,
                      struct buf *out);
/* The value of a `full_state` update: no nulls. */
void state_write_full(const struct state *s, struct str conversations_path, struct buf *out);
