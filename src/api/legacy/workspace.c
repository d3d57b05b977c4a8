#include "api/legacy/workspace.h"
#include "base/cleanup.h"
#include "base/utf8.h"

void workspace_request(struct request *r, const void *args, void (*begin)(struct hand_request *h))
{
    hand_request_of(r, args, legacy_reply_missing, begin);
}

void workspace_add_path(const struct hand_request *h, struct str path, struct buf *fields)
{
    wire_add_str(fields, F_PATH, path.p ? path : STR(""));
    wire_add_str(fields, F_ROOT, h->hand.working_dir);
}

static void reply_labelled(struct request *r, int status, const char *label, struct str message)
{
    autobuf text = {0};
    buf_addf(&text, "%s: ", label);
    utf8_scrub(&text, message.n ? message : STR("the workspace gives no reason"));
    legacy_reply_error(r, status, text.p);
}

void workspace_refuse(struct request *r, const char *label, enum wire_status status, struct str message)
{
    reply_labelled(r, hand_status_http(status), label, message);
}

void workspace_fail(struct request *r, const char *label, const struct err *e)
{
    reply_labelled(r, 500, label, str_from(err_text(e)));
}
