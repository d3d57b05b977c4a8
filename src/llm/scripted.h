/* scripted: models that play written answers, for the demonstration, tests and benchmarks.
 *
 * `scripted/NAME` plays NAME.jsonl of the scripts directory: one JSON object per line, empty lines and lines that begin
 * with `#` skipped. Line k answers turn k; behind the last line the model says that its script has ended.
 *
 *   {"text": "…",                       what the model says
 *    "reasoning": "…",                  what it thinks
 *    "calls": [{"name": "terminal",     tool calls; `arguments` is an object, or a string sent as it stands
 *               "arguments": {…},
 *               "id": "call_7"}],       made up when absent
 *    "delay_ms": 250,                   waits before it answers
 *    "error": {"status": 429,           fails like a server with this status; in every attempt, or only in the
 *              "message": "…",          first `times` of them
 *              "times": 1},
 *    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.001, …},
 *    "finish_reason": "stop",
 *    "repeat": true,                    last line: answers all later turns too
 *    "no_tools": true}                  not a turn: answers requests that offer no tools (titles, questions)
 *
 * Built in: `demo` (writes a program, runs it, sees it fail, repairs it, runs it again, finishes), `think` and `true`
 * (one call of `think`, of `terminal`, in every turn, for ever, no two alike), `finish` (finishes at once), `text`
 * (answers in words). */
#pragma once
#include "llm/provider.h"

#define SCRIPT_BYTES_MAX (8 * 1024 * 1024) /* of a script's file */
#define SCRIPT_DELAY_MAX_MS 3600000

/* Lines of a built-in script, in the form above; STR_NONE when there is none of that name. */
struct str scripted_builtin(struct str name);
/* The line for a turn, or STR_NONE; `no_tools` asks for the line that answers requests without tools. */
struct str scripted_line(struct str script, uint64_t turn, bool no_tools);
