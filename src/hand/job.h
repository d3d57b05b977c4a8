/* job: work of the hand that may block (a walk through a large tree, one git command after the other). It runs as plain,
 * straight-line code in a fork of the hand under a keeper, so that a call's cancel or a deadline ends it together with
 * everything that it started, and the hand's loop goes on. The fork has a copy of the call and of its fields; what it
 * changes in memory is lost with it. */
#pragma once
#include "hand/call.h"

#define JOBS_MAX 64 /* at once; more are WIRE_BUSY */
#define JOBS_STREAMING_MAX \
    8 /* of them those that stream: readers that stall must not keep an agent from its tools */

/* Runs in the fork: adds the RESULT's fields and returns its status. */
typedef enum wire_status job_fn(const struct call *c, struct buf *fields);

/* Ends the call: with what the job answers, with WIRE_TIMEOUT after `ms`, or with WIRE_IO when the job dies. */
void job_start(struct call *c, job_fn *run, uint64_t ms);

/* The same for work that must not be broken off in its middle: a cancel or the deadline asks it to stop (SIGTERM) and gives
 * it `grace_ms` for putting things back. One that is through by then has its answer taken. */
void job_start_asking(struct call *c, job_fn *run, uint64_t ms, unsigned grace_ms);
/* For such jobs: it should put back what it did and return WIRE_CANCELLED. */
bool job_asked_to_stop(void);

/* The same for work whose output is the call's DATA, of any size: job_write blocks while the mind takes nothing. There is no
 * deadline, but it ends with WIRE_TIMEOUT when nothing was written for `stall_ms` that could have been sent. */
void job_start_streaming(struct call *c, job_fn *run, uint64_t stall_ms);
/* For such jobs. False: nobody reads any more. */
bool job_write(struct str data);

/* For jobs: adds F_MESSAGE and returns `status`. */
enum wire_status job_fail(struct buf *fields, enum wire_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* For jobs: a program that is run and waited for. */
struct job_program {
    char *const *argv; /* argv[0] is looked for in PATH of `env` */
    char *const *env;
    const char *cwd;
    struct str in;  /* its standard input */
    uint64_t ms;    /* it is killed after this */
    size_t out_max; /* bytes of standard output; one that writes more is killed */
    /* result */
    struct buf out, err; /* of standard error at most JOB_STDERR_MAX bytes, its beginning */
    int exit_code;       /* negative: killed by that signal */
    bool timed_out, too_much;
};
#define JOB_STDERR_MAX 4096
/* False: it could not be started. `out` and `err` are the caller's to free. */
bool job_program_run(struct job_program *p, struct err **e);
