/* vscode_url: the URL of a hand's VS Code, which is started for it. */
#pragma once
#include "api/app.h"
#include "workspace/vscode.h"

struct vscode_url {
    const struct hand_spec *hand;
    int port; /* 0: any free one */
    struct str
        base_url; /* scheme and host under which clients reach that port; STR_NONE: http://localhost and the port */
    struct str base_path; /* or STR_NONE */
    struct str folder;    /* absolute; what it opens */
};
/* Parks the request; everything in `wanted` lives in its arena. `done` comes on the loop, once VS Code answers, and ends the
 * request; `url` is STR_NONE without an error where none is installed. */
void vscode_url_get(struct request *r, const struct vscode_url *wanted,
                    void (*done)(struct request *r, struct str url, const struct err *e));
