/* OP_PATCH: works in a fork, because finding the places of a large patch in large files takes time. */
#include "hand/patch/patch.h"
#include "base/utf8.h"
#include "hand/job.h"
#include "hand/operations.h"
#include "hand/patch/files.h"

#define PATCH_LIMIT_MS 30000
#define PATCH_GRACE_MS 600 /* for putting things back when it is cancelled */
#define CONTENT_MAX \
    (256 * 1024) /* bytes of an old or new content in the result; a longer one is left out … */
#define CONTENTS_MAX (600 * 1024) /* … and so is what would make all of them longer than this */

static void add_content(struct buf *item, enum wire_field tag, struct str text, size_t *left)
{
    if (text.n > CONTENT_MAX || text.n > *left)
        return;
    *left -= text.n;
    wire_add_str(item, tag, text);
}

static void add_file(struct buf *fields, const struct patch_file *one, size_t *left)
{
    static const char *const kinds[] = {[PATCH_ADD] = "a", [PATCH_DELETE] = "d", [PATCH_UPDATE] = "u"};
    autobuf item = {0};
    wire_add_str(&item, F_PATH, str_from(one->name));
    wire_add_str(&item, F_KIND, str_from(kinds[one->type]));
    if (one->new_name)
        wire_add_str(&item, F_NAME, str_from(one->new_name));
    if (one->exists)
        add_content(&item, F_OLD, buf_str(&one->old_text), left);
    if (one->type != PATCH_DELETE)
        add_content(&item, F_NEW, buf_str(&one->new_text), left);
    wire_add_str(fields, F_ITEM, buf_str(&item));
}

static enum wire_status refuse(struct buf *fields, const struct err *e)
{
    autobuf text = {0};
    if (e->kind == ERR_CANCELLED || (e->kind == ERR_TIMEOUT && job_asked_to_stop()))
        return WIRE_CANCELLED;
    utf8_scrub(&text, str_from(e->text));
    wire_add_int(fields, F_IS_ERROR, 1);
    wire_add_str(fields, F_TEXT, buf_str(&text));
    return WIRE_OK;
}

static bool patch_work(struct str call, struct patch *p, struct patch_files *f, struct err **e)
{
    f->root = wire_get_str(call, F_ROOT);
    return patch_parse(p, wire_get_str(call, F_TEXT), e) && patch_files_load(f, p, job_asked_to_stop, e) &&
           patch_files_write(f, job_asked_to_stop, e);
}

static enum wire_status patch_job(const struct call *c, struct buf *fields)
{
    struct patch p = {0};
    struct patch_files f = {0};
    autoerr e = NULL;
    enum wire_status status = WIRE_OK;
    size_t left = CONTENTS_MAX;
    if (patch_work(buf_str(&c->fields), &p, &f, &e)) {
        wire_add_int(fields, F_SIZE, f.fuzz);
        for (size_t i = 0; i < f.at.n; i++)
            add_file(fields, &f.at.at[i], &left);
    } else {
        status = refuse(fields, e);
    }
    patch_files_deinit(&f);
    patch_deinit(&p);
    return status;
}

void patch_start(struct call *c)
{
    struct str root = wire_get_str(buf_str(&c->fields), F_ROOT);
    if (root.n == 0 || !wire_has(buf_str(&c->fields), F_TEXT))
        return call_fail(c, WIRE_INVALID, "a patch needs a text and a root");
    job_start_asking(c, patch_job, PATCH_LIMIT_MS, PATCH_GRACE_MS);
}
