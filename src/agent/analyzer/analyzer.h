/* analyzer: judges the risk of an action before it runs, by what the model said of it, by patterns, by rules about shell
 * commands, or by the worst of several. Immutable: any thread may judge with it. What it cannot judge within its
 * limits is HIGH. Nothing of an action is cut away before it is looked at. */
#pragma once
#include "agent/agent.h"

#define ANALYZERS_MAX 16          /* of an ensemble */
#define ANALYZER_DEPTH_MAX 4      /* ensembles in ensembles */
#define ANALYZER_PATTERNS_MAX 200 /* of one list of a client's */
#define ANALYZER_PATTERN_BYTES 4096

struct analyzer;

/* {"kind":"LLMSecurityAnalyzer"} … ERR_INVALID says what is wrong; its code is "union_tag_invalid" for a kind that is not
 * known or cannot work here. */
struct analyzer *analyzer_new(const struct json_value *config, struct err **e);
/* One that was stored and cannot be read any more: everything is HIGH. */
struct analyzer *analyzer_broken(void);
void analyzer_free(struct analyzer *a);
/* Is the model to be asked for a `security_risk` with each call? */
bool analyzer_wants_risk(const struct analyzer *a);
bool analyzer_config_wants_risk(const struct json_value *config); /* the same, without making it */

struct analyzed {
    struct str action; /* JSON of the action object: each of its texts is looked at */
    struct str tool;
    struct str summary, thought, reasoning; /* what is said about it; may be STR_NONE */
    enum risk said;                         /* the model's own judgement */
};
enum risk analyzer_judge(const struct analyzer *a, const struct analyzed *action);
const char *risk_name(enum risk risk);

/* --- parts, for tests and fuzzing --- */

/* Adds `text` without what hides words from a reader of plain text: invisible characters, line continuations, look-alike
 * forms of ASCII; white space becomes one space or one newline. */
void analyzer_normalize(struct str text, struct buf *out);

struct shell_scan {
    bool destroys; /* a recursive, forced `rm` */
    bool feeds;    /* what was fetched or decoded is run as a program */
    bool
        uncertain; /* that shape with a command whose name cannot be known, or nested too deeply to be followed */
    bool too_much;  /* more programs in programs than anybody writes: not all were read */
    size_t fetches; /* commands that fetch or decode */
    size_t left;    /* bytes that may still be read */
    struct buf
        text; /* the commands as the shell will see them: without quotes and escapes, nested ones, too */
};
/* Reads `script` as a shell would, as far as that can be known without running it. */
void shell_scan(struct str script, struct shell_scan *out);
void shell_scan_deinit(struct shell_scan *s);
