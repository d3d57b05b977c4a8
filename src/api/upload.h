/* upload: forms with files that go through to a hand as they come (routes with ROUTE_STREAM_BODY). What is under way is one
 * window: the connection is read only as fast as the hand writes. Other fields of the form are passed over. */
#pragma once
#include "api/hand_request.h"

/* One file of a form, and what became of it. In the request's arena. */
struct upload_file {
    struct str name;         /* as the form has it; UTF-8 */
    struct str path;         /* that upload_rules.place gave */
    struct str reason;       /* why it was not written, UTF-8 of bounded length; STR_NONE: it was */
    enum wire_status status; /* the hand's */
    struct err *error;       /* no answer of a hand; `status` is WIRE_OK then */
};

/* How a route takes a form; static. All of it runs on the loop. */
struct upload_rules {
    const char *field; /* the field that has the files */
    /* Exactly one file, which takes its place when the whole form was well. Otherwise any number; each takes its place when
     * it was whole itself, one that cannot does no harm to the others, and what the client breaks off leaves nothing. */
    bool one;
    /* Sets `path`, and adds the fields of OP_FILE_WRITE that say so; false: it is skipped, for this reason. */
    bool (*place)(const struct hand_request *h, struct str name, struct str *path, struct buf *fields,
                  const char **reason);
    /* Ends the request when every file was written or was not; a form that is none is answered here. */
    void (*done)(struct hand_request *h, const struct upload_file *const *files, size_t n);
};

/* Takes the request's body and ends it; for hand_request's `begin`. */
void upload_start(struct hand_request *h, const struct upload_rules *rules);
