#include "net/curl_open.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include <dlfcn.h>
#include <stddef.h>

/* OpenSSL's build first: its CA store is shared by all connections. */
static const char *const library_names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
    {"curl_global_init", offsetof(struct curl_table, global_init)},
    {"curl_easy_init", offsetof(struct curl_table, easy_init)},
    {"curl_easy_setopt", offsetof(struct curl_table, easy_setopt)},
    {"curl_easy_getinfo", offsetof(struct curl_table, easy_getinfo)},
    {"curl_easy_cleanup", offsetof(struct curl_table, easy_cleanup)},
    {"curl_easy_strerror", offsetof(struct curl_table, easy_strerror)},
    {"curl_multi_init", offsetof(struct curl_table, multi_init)},
    {"curl_multi_setopt", offsetof(struct curl_table, multi_setopt)},
    {"curl_multi_add_handle", offsetof(struct curl_table, multi_add_handle)},
    {"curl_multi_remove_handle", offsetof(struct curl_table, multi_remove_handle)},
    {"curl_multi_perform", offsetof(struct curl_table, multi_perform)},
    {"curl_multi_poll", offsetof(struct curl_table, multi_poll)},
    {"curl_multi_wakeup", offsetof(struct curl_table, multi_wakeup)},
    {"curl_multi_info_read", offsetof(struct curl_table, multi_info_read)},
    {"curl_multi_cleanup", offsetof(struct curl_table, multi_cleanup)},
    {"curl_slist_append", offsetof(struct curl_table, slist_append)},
    {"curl_slist_free_all", offsetof(struct curl_table, slist_free_all)},
};

static bool table_fill(void *library, struct curl_table *table, struct err **e)
{
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol)
            return err_set(e, ERR_UPSTREAM, "libcurl is too old: it has no %s", symbols[i].name);
        memcpy((char *)table + symbols[i].offset, &symbol, sizeof(symbol));
    }
    void *control = dlsym(library, "SSL_CTX_ctrl"); /* found among the libraries that libcurl brought */
    memcpy(&table->ssl_ctx_ctrl, &control, sizeof(control));
    return true;
}

static bool table_open(struct curl_table *table, struct err **e)
{
    void *library = NULL;
    for (size_t i = 0; i < ARRAY_LEN(library_names) && !library; i++)
        library = dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return err_set(e, ERR_UPSTREAM, "no outgoing connections: libcurl cannot be opened (%s)", dlerror());
    if (!table_fill(library, table, e))
        return false;
    if (table->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(e, ERR_UPSTREAM, "no outgoing connections: libcurl cannot be initialised");
    log_debug("outward: libcurl is open");
    return true;
}

const struct curl_table *curl_open(struct err **e)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct curl_table table;
    static bool opened;
    bool ok = false;
    WITH_LOCK(&lock)
    {
        opened = opened || table_open(&table, e);
        ok = opened;
    }
    return ok ? &table : NULL;
}
