#include "api/listing.h"

void entry_list_deinit(entry_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i].key);
    vec_deinit(l);
}

char *entry_key(struct str name)
{
    char *key = str_dup(name);
    for (char *p = key; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    return key;
}

static int entry_compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : str_cmp(x->name, y->name);
}

void listing_read(struct str fields, entry_list *out)
{
    struct wire_fields it = {fields};
    enum wire_field tag;
    struct str item;
    while (wire_fields_next(&it, &tag, &item, NULL)) {
        if (tag != F_ITEM || !wire_fields_valid(item))
            continue;
        struct str name = wire_get_str(item, F_NAME);
        bool is_dir = str_is(wire_get_str(item, F_KIND), "d");
        if (name.n > 0)
            vec_push(out, (struct entry){name, entry_key(name), is_dir});
    }
    if (out->n > 0)
        qsort(out->at, out->n, sizeof(out->at[0]), entry_compare);
}
