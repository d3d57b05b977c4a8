/* patch: a patch, a zero byte, and the text of the file that it changes. The lines of the result are as many as the patch
 * says. */
#include "hand/patch/patch.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static size_t lines_of(struct str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    return n;
}

static void check_count(const struct patch_action *a, struct str before, struct str after)
{
    size_t added = 0, removed = 0;
    for (size_t i = 0; i < a->lines.n; i++) {
        added += a->lines.at[i].op == '+';
        removed += a->lines.at[i].op == '-';
    }
    size_t expected = lines_of(before) + added - removed;
    must(lines_of(after) == expected || (expected == 0 && after.n == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make(data, size), text;
    struct patch p = {0};
    autoerr e = NULL;
    if (size == 0 || !str_split(&rest, '\0', &text))
        return 0;
    struct str file = rest.p ? rest : STR("");
    if (patch_parse(&p, text, &e))
        must(p.actions.n > 0);
    else
        must(e != NULL);
    for (size_t i = 0; !e && i < p.actions.n; i++) {
        const struct patch_action *a = &p.actions.at[i];
        autobuf out = {0};
        autoerr why = NULL;
        int64_t fuzz = 0;
        if (a->type == PATCH_ADD)
            patch_added(a, &out);
        else if (a->type == PATCH_UPDATE && patch_apply(a, file, NULL, &out, &fuzz, &why))
            check_count(a, file, buf_str(&out));
        else if (a->type == PATCH_UPDATE)
            must(why != NULL);
        must(fuzz >= 0);
    }
    patch_deinit(&p);
    return 0;
}
