/* files: what the routes that carry files share. download.c, upload.c, files.c, workspace.c */
#pragma once
#include "api/agent_server/hand_request.h"

#define FILE_NAME_MAX 1024 /* bytes of a name in Content-Disposition; a longer one is cut */

/* The path that a client gave: absolute and without `.`, `..` and empty parts, in the request's arena. Answers 400 and
 * gives STR_NONE for one that no file can have. `captured`: by {path:path}, which may have lost its first slash. */
struct str file_path(struct request *r, struct str path, bool captured);

/* How a file is sent, and what is said when it cannot be. */
struct file_sending {
    const char *content_type;
    bool attachment; /* Content-Disposition with the path's last part; otherwise as a page of a stranger's */
    /* Answers for a hand that has refused to read it. On a worker. */
    void (*refused)(struct request *r, const void *args, enum wire_status status, struct str message);
    const void *args; /* for it; in the request's arena */
};
/* Streams the file at `path` of that hand, beneath `root` when it is given, as fast as the client reads. Ends the request. Any
 * thread; everything is copied but for `how`'s pointers, which live as long as the request. */
void file_send(struct request *r, const struct hand_spec *hand, struct str root, struct str path,
               const struct file_sending *how);
