/* curl_open: libcurl by dlopen, at the first outgoing call: merely linking it costs an idle server 8 MB before main.
 * Any thread. The library stays open until the process ends. */
#pragma once
#include <curl/curl.h>
#include "base/err.h"

/* The functions used, with the types of curl's headers; its type-checking macros of the same names do not touch
 * members of a struct. */
struct curl_table {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
    CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
    void (*easy_cleanup)(CURL *easy);
    const char *(*easy_strerror)(CURLcode code);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_setopt)(CURLM *multi, CURLMoption option, ...);
    CURLMcode (*multi_add_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_perform)(CURLM *multi, int *running);
    CURLMcode (*multi_poll)(CURLM *multi, struct curl_waitfd *extra, unsigned n, int timeout_ms, int *ready);
    CURLMcode (*multi_wakeup)(CURLM *multi);
    CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
    CURLMcode (*multi_cleanup)(CURLM *multi);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
    /* OpenSSL's, out of the library that libcurl itself uses; NULL where it uses another. */
    long (*ssl_ctx_ctrl)(void *context, int command, long number, void *pointer);
};

/* NULL (ERR_UPSTREAM) when no libcurl can be opened. The same table at every call. */
const struct curl_table *curl_open(struct err **e);
