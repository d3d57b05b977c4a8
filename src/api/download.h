/* download: a file of a workspace as the answer to a request, as fast as the client reads. */
#pragma once
#include "api/hand_request.h"

#define FILE_NAME_MAX 1024 /* bytes of a name in Content-Disposition; a longer one is cut */

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
