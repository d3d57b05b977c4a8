/* vscode: VS Code servers, one for each hand that was asked for one: openvscode-server or code-server, whichever the hand's
 * machine has. It listens on the loopback address of that machine, wants a token of its own (never a session key), which a
 * file with mode 0600 gives it, and ends with its hand, or by itself when nobody has used it for a while; the next request
 * starts it again.
 *
 * Threads: the functions may be called by any thread unless they say otherwise; `done` comes later on the loop.
 * Limits: VSCODES_MAX at once (more: ERR_BUSY); VSCODE_START_MS for a start. */
#pragma once
#include "workspace/hand.h"

#define VSCODES_MAX 64        /* each is a few processes of Node */
#define VSCODE_START_MS 40000 /* until it answers; whoever waits gets ERR_TIMEOUT, and may ask again */

struct vscodes;

struct vscodes *vscodes_new(struct loop *loop, struct hands *hands);
void vscodes_free(struct vscodes *v); /* when the hands have closed */

struct vscode_wanted {
    const struct hand_spec *hand;
    int port;             /* 0: any free one */
    struct str base_path; /* under which it is shown, or STR_NONE */
};
struct vscode {
    int port;
    struct str token;
};
/* Answers when it takes requests: at once when it does already. NULL without an error: the machine has none. ERR_CONFLICT: the
 * port is taken. */
void vscode_start(struct vscodes *v, const struct vscode_wanted *wanted,
                  void (*done)(void *arg, const struct vscode *one, const struct err *e), void *arg);
/* Does the one of this hand take requests? Loop thread. */
bool vscode_runs(const struct vscodes *v, const struct uuid *hand);
