#include "net/curl_open.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "net/library.h"

static const struct library_symbol symbols[] = {
    {.name = "curl_global_init", .offset = offsetof(struct curl_table, global_init)},
    {.name = "curl_easy_init", .offset = offsetof(struct curl_table, easy_init)},
    {.name = "curl_easy_setopt", .offset = offsetof(struct curl_table, easy_setopt)},
    {.name = "curl_easy_getinfo", .offset = offsetof(struct curl_table, easy_getinfo)},
    {.name = "curl_easy_cleanup", .offset = offsetof(struct curl_table, easy_cleanup)},
    {.name = "curl_easy_strerror", .offset = offsetof(struct curl_table, easy_strerror)},
    {.name = "curl_multi_init", .offset = offsetof(struct curl_table, multi_init)},
    {.name = "curl_multi_setopt", .offset = offsetof(struct curl_table, multi_setopt)},
    {.name = "curl_multi_add_handle", .offset = offsetof(struct curl_table, multi_add_handle)},
    {.name = "curl_multi_remove_handle", .offset = offsetof(struct curl_table, multi_remove_handle)},
    {.name = "curl_multi_perform", .offset = offsetof(struct curl_table, multi_perform)},
    {.name = "curl_multi_poll", .offset = offsetof(struct curl_table, multi_poll)},
    {.name = "curl_multi_wakeup", .offset = offsetof(struct curl_table, multi_wakeup)},
    {.name = "curl_multi_info_read", .offset = offsetof(struct curl_table, multi_info_read)},
    {.name = "curl_multi_cleanup", .offset = offsetof(struct curl_table, multi_cleanup)},
    {.name = "curl_slist_append", .offset = offsetof(struct curl_table, slist_append)},
    {.name = "curl_slist_free_all", .offset = offsetof(struct curl_table, slist_free_all)},
    /* found among the libraries that libcurl brought */
    {.name = "SSL_CTX_ctrl", .offset = offsetof(struct curl_table, ssl_ctx_ctrl), .optional = true},
};

static bool init(void *table)
{
    struct curl_table *curl = table;
    if (curl->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return false;
    log_debug("outward: libcurl is open");
    return true;
}

const struct curl_table *curl_open(struct err **e)
{
    static struct curl_table table;
    static struct library library = {
        .title = "libcurl",
        .without = "outgoing connections",
        /* OpenSSL's build first: its CA store is shared by all connections. */
        .names = {"libcurl.so.4", "libcurl-gnutls.so.4"},
        .symbols = symbols,
        .symbol_count = ARRAY_LEN(symbols),
        .table = &table,
        .init = init,
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    return library_open(&library, e);
}
