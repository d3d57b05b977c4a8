/* download: what a hand sends (a file of a workspace, an archive) as the answer to a request, as fast as the client reads. */
#pragma once
#include "api/hand_request.h"

#define FILE_NAME_MAX 1024 /* bytes of a name in Content-Disposition; a longer one is cut */

/* How it is sent, and what is said when it cannot be. */
struct file_sending {
    const char *content_type;
    bool attachment; /* Content-Disposition with the name; otherwise as a page of a stranger's */
    /* Answers for a hand that has refused before anything came. On a worker. */
    void (*refused)(struct request *r, const void *args, enum wire_status status, struct str message);
    /* For a hand that cannot be asked; NULL: request_reply_error. On the loop. */
    void (*failed)(struct request *r, const void *args, const struct err *e);
    const void *args; /* for them; in the request's arena */
};
/* Streams the DATA of a call on that hand; `fields` are moved in. A NOTE of it may tell its F_SIZE before. Ends the request. Any
 * thread; everything is copied but for `how`'s pointers, which live as long as the request. */
void download_send(struct request *r, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                   struct str name, const struct file_sending *how);
/* The file at `path`, beneath `root` when it is given, under its own name. */
void file_send(struct request *r, const struct hand_spec *hand, struct str root, struct str path,
               const struct file_sending *how);
