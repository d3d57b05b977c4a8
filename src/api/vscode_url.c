#include "api/vscode_url.h"
#include "base/cleanup.h"

struct asked {
    struct request *request;
    struct vscode_url wanted;
    void (*done)(struct request *r, struct str url, const struct err *e);
};

static void add_encoded(struct buf *out, struct str text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] && strchr(plain, text.p[i]))
            buf_add_char(out, text.p[i]);
        else
            buf_addf(out, "%%%02X", (unsigned char)text.p[i]);
    }
}

static struct str without_slashes(struct str text, bool first)
{
    while (first && text.n && text.p[0] == '/')
        text = str_sub(text, 1, text.n);
    while (text.n && text.p[text.n - 1] == '/')
        text.n--;
    return text;
}

static void answered(void *arg, const struct vscode *one, const struct err *e)
{
    struct asked *a = arg;
    const struct vscode_url *w = &a->wanted;
    autobuf url = {0};
    if (!one) {
        a->done(a->request, STR_NONE, e);
        return;
    }
    if (w->base_url.p)
        buf_add(&url, without_slashes(w->base_url, false));
    else
        buf_addf(&url, "http://localhost:%d", one->port);
    buf_add(&url, w->base_path);
    buf_addf(&url, "/?tkn=%.*s&folder=", STR_ARG(one->token));
    add_encoded(&url, w->folder);
    a->done(a->request, buf_str(&url), NULL);
}

void vscode_url_get(struct request *r, const struct vscode_url *wanted,
                    void (*done)(struct request *r, struct str url, const struct err *e))
{
    struct asked *a = ARENA_NEW(request_arena(r), struct asked);
    *a = (struct asked){.request = r, .wanted = *wanted, .done = done};
    struct str path = without_slashes(wanted->base_path, true);
    a->wanted.base_path = path.n ? arena_printf(request_arena(r), "/%.*s", STR_ARG(path)) : STR_NONE;
    vscode_start(
        app_of(r)->config.vscodes,
        &(struct vscode_wanted){.hand = wanted->hand, .port = wanted->port, .base_path = a->wanted.base_path},
        answered, a);
}
