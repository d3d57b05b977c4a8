#include "net/curl_open.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "net/library.h"

static const struct library_symbol symbols[] = {
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
    /* found among the libraries that libcurl brought */
    {"SSL_CTX_ctrl", offsetof(struct curl_table, ssl_ctx_ctrl), .optional = true},
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
