/* conversation: the aggregate. A log, the state that belongs to it, at most one run, any number of subscriptions.
 *
 * Two states. *Pending* (next seq, leaf, last timestamp, what queued commits will make true) is guarded by the
 * conversation's append lock, held only to stamp, serialise and enqueue, never across I/O. *Committed* is an immutable
 * snapshot that the store's writer swaps in after each commit; every GET and every subscription sees only that one.
 *
 * Threads: any thread may call these functions unless they say otherwise. Functions with a `done` answer when the change
 * is durable; `done` runs on the store's writer thread, on a worker, or on the caller's, and must not block. Those that
 * read the disk are marked *worker*: never call them on the loop.
 * A conversation has at most one run thread and one wish, guarded by the append lock; the thread leaves only when the
 * wish is settled. Nothing here waits for a model or a tool.
 * Failure: a failed commit sets pending back to committed, stops the run before its next tool, and answers ERR_IO. */
#pragma once
#include "agent/agent.h"
#include "base/bytes.h"
#include "base/pool.h"
#include "base/uuid.h"
#include "net/loop.h"
#include "net/server.h"
#include "store/secret.h"
#include "store/store.h"

struct conversations; /* all of them: the registry and what they share */
struct conversation;  /* one that is open (in memory); counted */

#define CONVERSATION_TAIL_ALL \
    (64 * 1024 * 1024)                      /* recent events kept in memory for sockets, all conversations */
#define CONVERSATION_TAIL_ONE (1024 * 1024) /* … of one */
#define CONVERSATION_SUBSCRIBERS_MAX 10000
#define CONVERSATION_MESSAGE_MAX (8 * 1024 * 1024) /* bytes of a user message's JSON */
#define CONVERSATION_FULL_STATE_MS 200 /* a run's final full_state, after the answer that started it */

struct conversations_config {
    struct loop *loop;
    struct pool *pool;
    struct server *server; /* for sockets */
    struct store *store;
    const struct secrets *secrets;
    struct hands *hands;
    struct llm_context llm;
    struct str conversations_path;        /* as configured; shown as persistence_dir */
    const char *(*env)(const char *name); /* configured environment (LLM defaults) */
    double command_max_s; /* longest timeout that an agent may ask for a command; 0: no limit */
    size_t runs_max;      /* runs at once, further ones are ERR_TOO_MANY; 0: no limit */
    uint64_t idle_ms;     /* an open conversation nobody uses leaves memory; 0: never */
};

struct conversations *conversations_new(const struct conversations_config *config);
/* After listening: opens (and so repairs) what was running when the last server died. */
void conversations_recover(struct conversations *s);
/* Interrupts every run (PauseEvent, paused, open actions answered) and calls `done` on the loop when all threads have
 * left. Nothing can be started afterwards. */
void conversations_close(struct conversations *s, void (*done)(void *arg), void *arg);
void conversations_free(struct conversations *s);

/* ---- finding and reading ---- */

/* Opens a conversation: loads it, claims it, repairs it. `c` carries a reference. ERR_NOT_FOUND, ERR_LOST, ERR_IO. */
void conversations_open(struct conversations *s, const struct uuid *id,
                        void (*done)(void *arg, struct conversation *c, const struct err *e), void *arg);
/* One that is open already, with a reference; NULL otherwise. Does not block. */
struct conversation *conversations_peek(struct conversations *s, const struct uuid *id);
struct conversation *conversation_ref(struct conversation *c);
void conversation_unref(struct conversation *c);

/* Bytes of ConversationInfo, committed state, one reference. Does not block. */
struct bytes *conversation_info(struct conversation *c);
/* The same for any stored conversation, without opening it. *worker* */
struct bytes *conversations_info(struct conversations *s, const struct uuid *id, bool with_skills,
                                 struct err **e);
/* ERR_NOT_FOUND. *worker* */
bool conversations_number(struct conversations *s, const struct uuid *id, int64_t *number, struct err **e);
/* *worker* */
bool conversations_count(struct conversations *s, enum status status, int64_t *count, struct err **e);
/* Which hand serves an absolute path: that of the conversation in whose working directory it lies (the deepest; of
 * several the youngest), else the server's own. Answers later on a worker; `hand` and its text are valid during the call.
 * An error: that conversation cannot be opened. Any thread. */
void conversations_hand_for(struct conversations *s, struct str path,
                            void (*done)(void *arg, const struct hand_spec *hand, const struct err *e),
                            void *arg);
/* The same for the hand of one conversation. ERR_NOT_FOUND. */
void conversations_hand_of(struct conversations *s, const struct uuid *id,
                           void (*done)(void *arg, const struct hand_spec *hand, const struct err *e),
                           void *arg);
/* The server's own hand, for paths outside of every workspace. */
struct hand_spec conversations_own_hand(void);
struct hands *conversations_hands(struct conversations *s);
struct store *conversations_store(struct conversations *s);
enum status conversation_status(struct conversation *c); /* committed */

/* ---- creating and ending ---- */

struct conversation_request {
    struct uuid id;                 /* zero: made here */
    const struct json_value *agent; /* checked with agent_new; kept as it came, secrets sealed */
    struct str working_dir;
    bool git_init; /* where it lies in no repository */
    bool worktree;
    struct policy policy;
    const struct json_value *security_analyzer; /* or NULL */
    const struct json_value *initial_message;   /* {role, content[]} or NULL; always runs */
    int64_t max_iterations;
    bool stuck_detection, autotitle;
    const struct json_value *secrets; /* {name: "text" | {value} | SecretSource} or NULL */
    const struct json_value *tags, *hook_config, *client_tools, *plugins; /* or NULL */
    const struct uuid *parent;                                            /* or NULL */
    const struct json_value *origin; /* kept in its configuration for the dialect that made it; or NULL */
};
/* `created` false: the id existed, and that conversation is answered. The request is copied before this returns. */
void conversations_create(struct conversations *s, const struct conversation_request *request,
                          void (*done)(void *arg, struct conversation *c, bool created, const struct err *e),
                          void *arg);
/* A running one is interrupted; its sockets are closed; its id may be created again at once. ERR_NOT_FOUND. */
void conversations_delete(struct conversations *s, const struct uuid *id,
                          void (*done)(void *arg, const struct err *e), void *arg);

/* ---- in use or not, as clients of 0.53 see it ----
 * *Live*: made, started, or acted upon by a message or a run in this process, and not stopped since. These do not block. */

/* `sockets` (may be NULL): how many are attached to it. */
bool conversations_live(struct conversations *s, const struct uuid *id, size_t *sockets);
bool conversation_start(struct conversation *c); /* it is live from now on; was it before? */
/* Interrupts its run and ends its hand, with the shells. It stays as it is otherwise, and can be acted upon again. False when
 * it was not live. */
bool conversations_stop(struct conversations *s, const struct uuid *id);

/* ---- acting: all *worker*, since a repair may have to read the disk first ---- */

typedef void (*conversation_done)(void *arg, const struct err *e);

/* Appends a user message (validated {role, content[]} object). With `run`, starts a run or makes the present one go on
 * to it; never accepts a pending confirmation. */
void conversation_send(struct conversation *c, const struct json_value *message, bool run,
                       conversation_done done, void *arg);
/* ERR_CONFLICT when running. Accepts a pending confirmation. `done` before the run's first step. */
void conversation_run(struct conversation *c, conversation_done done, void *arg);
void conversation_pause(struct conversation *c, conversation_done done, void *arg);
/* Answered when the cancel is on its way; its events follow. */
void conversation_interrupt(struct conversation *c, conversation_done done, void *arg);
/* Rejects every open action; nothing when none waits. *worker* */
void conversation_reject(struct conversation *c, struct str reason, conversation_done done, void *arg);
void conversation_set_policy(struct conversation *c, const struct policy *policy, conversation_done done,
                             void *arg);
void conversation_set_analyzer(struct conversation *c, const struct json_value *analyzer,
                               conversation_done done, void *arg);
/* Adds or replaces. ERR_INVALID names the secret that cannot be read. */
void conversation_set_secrets(struct conversation *c, const struct json_value *secrets,
                              conversation_done done, void *arg);
/* Shortens what the model reads. While the agent runs it is done between two steps; otherwise a run is started that does
 * nothing else and leaves the status as it is. `done` when the Condensation is stored. ERR_INVALID: no condenser, or
 * nothing to condense; ERR_UPSTREAM and others: the summarising model failed, and nothing has changed. */
void conversation_condense(struct conversation *c, conversation_done done, void *arg);
/* A question beside the run: the history is read, nothing of it changes, and no run waits for it or is waited for. `text` is
 * valid during the call. What it cost is in the stats under `ask-agent-llm`. */
typedef void (*conversation_told)(void *arg, struct str text, const struct err *e);
void conversation_ask(struct conversation *c, struct str question, conversation_told done, void *arg);
/* A title of at most `max_length` characters for the first user message, not stored. `llm`: an LLM object, or NULL for the
 * agent's. A model that fails gives the beginning of the message. ERR_INVALID: no such message yet, or a bad `llm`. */
void conversation_make_title(struct conversation *c, const struct json_value *llm, int64_t max_length,
                             conversation_told done, void *arg);
/* `title` STR_NONE: unchanged; `tags` NULL: unchanged. */
void conversation_set_title(struct conversation *c, struct str title, const struct json_value *tags,
                            conversation_done done, void *arg);

/* ---- subscriptions: loop thread only ---- */

enum resend { RESEND_NONE, RESEND_ALL, RESEND_SINCE };
/* A subscription is a cursor and flags on an accepted socket. First frame: full_state; then what `resend` asks for; then
 * everything from the moment of attaching, each once and in order. Takes the reference to `c`. False when
 * CONVERSATION_SUBSCRIBERS_MAX is reached. */
struct subscription;
struct subscription *subscription_open(struct conversation *c, uint64_t socket, enum resend resend,
                                       int64_t since_us);
void subscription_room(struct subscription *sub);  /* the socket can take more */
void subscription_close(struct subscription *sub); /* the socket has gone */
/* Sends a live-only ServerErrorEvent to this socket. */
void subscription_error(struct subscription *sub, const char *code, struct str detail);
struct conversation *subscription_conversation(struct subscription *sub); /* borrowed */
