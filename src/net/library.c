#include "net/library.h"
#include "base/cleanup.h"
#include "base/thread.h"
#include <dlfcn.h>
#include <string.h>

static bool table_fill(const struct library *l, void *handle, struct err **e)
{
    for (size_t i = 0; i < l->symbol_count; i++) {
        void *symbol = dlsym(handle, l->symbols[i].name);
        if (!symbol && !l->symbols[i].optional)
            return err_set(e, ERR_UPSTREAM, "%s is too old: it has no %s", l->title, l->symbols[i].name);
        memcpy((char *)l->table + l->symbols[i].offset, &symbol, sizeof(symbol));
    }
    return true;
}

static bool table_open(const struct library *l, struct err **e)
{
    void *handle = NULL;
    for (size_t i = 0; i < ARRAY_LEN(l->names) && l->names[i] && !handle; i++)
        handle = dlopen(l->names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle)
        return err_set(e, ERR_UPSTREAM, "no %s: %s cannot be opened (%s)", l->without, l->title, dlerror());
    if (!table_fill(l, handle, e))
        return false;
    return !l->init || l->init(l->table) ||
           err_set(e, ERR_UPSTREAM, "no %s: %s cannot be initialised", l->without, l->title);
}

const void *library_open(struct library *l, struct err **e)
{
    bool ok = false;
    WITH_LOCK(&l->lock)
    {
        l->opened = l->opened || table_open(l, e);
        ok = l->opened;
    }
    return ok ? l->table : NULL;
}
