/* daemon: the server as a whole: all parts, wired, from opening the database to closing it. Used by `serve`, and by
 * `run` when no server owns the data directory.
 *
 * Threads: start and free on one thread; run on the thread that becomes the loop; stop from any. */
#pragma once
#include "cli/configuration.h"
#include "base/err.h"

#define DAEMON_STOP_MS \
    4000 /* an orderly end is given up after this long (the whole is promised within 5 s) */

struct daemon_options {
    const struct configuration *config;
    const char *host;
    int port;                 /* of the agent-server API; 0: any free one */
    int legacy_port;          /* of the 0.53 API; 0: any free one; -1: none */
    bool legacy_optional;     /* goes without it, with a warning, when its port is busy */
    const char *data_dir;     /* --data, or NULL */
    const char *scripts_dir;  /* --scripts, or NULL */
    const char *hand_program; /* NULL: found beside handsd */
    bool announce;            /* for other commands, by DAEMON_URL_FILE */
    struct str extra_key;     /* a further session key, or STR_NONE */
};

struct daemon;

/* Listens when it returns. ERR_CONFLICT: another process owns the data directory, or the port is busy. */
struct daemon *daemon_start(const struct daemon_options *options, struct err **e);
const char *daemon_url(const struct daemon *d);        /* http://HOST:PORT */
const char *daemon_legacy_url(const struct daemon *d); /* NULL: there is none */
/* Until stopped. False: something could not be waited for, and the process has to end without daemon_free. What was
 * acknowledged is on the disk, and hands end with their streams. */
bool daemon_run(struct daemon *d);
void daemon_stop(struct daemon *d); /* once */
void daemon_free(struct daemon *d); /* after daemon_run has said true */

/* Absolute path of the data directory that these would use. */
bool daemon_find_data_dir(const struct configuration *config, const char *data_dir, struct buf *out,
                          struct err **e);
/* File in it with the URL of the server that owns it, if that one can be used by others. It says nothing unless the
 * directory is owned: a killed server leaves it behind. */
#define DAEMON_URL_FILE "handsd.url"
/* That URL. False: whoever owns the directory `dir` has told none, being a command of its own. */
bool daemon_server_url(struct str dir, struct buf *url);
/* Path of the hand program: HANDSD_HAND, else beside this executable. */
bool daemon_find_hand(struct buf *out, struct err **e);
