/* access: who may call. A web page of a stranger can make a browser send requests here, and a stranger's name can be
 * made to resolve to this machine; so foreign Origins and, as long as no key protects us, foreign Hosts are refused
 * before anything else is looked at. Loop thread. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <stdint.h>

struct access;

struct access_config {
    struct str bound_host; /* as configured: an address or a name */
    const struct str *keys;
    size_t key_count;
    /* Full origins ("https://app.example"); a bare name ("build-host") means any scheme and port of it; "*" means any. */
    const struct str *origins;
    size_t origin_count;
    struct str origin_regex; /* PCRE2 over the whole origin, or STR_NONE */
    const struct str *hosts; /* Host names accepted while there is no key */
    size_t host_count;
};

/* Copies the configuration. ERR_INVALID for a bad expression. */
struct access *access_new(const struct access_config *config, struct err **e);
void access_free(struct access *a);
/* `host` is the request's Host, which makes its own origin. */
bool access_origin_allowed(const struct access *a, struct str origin, struct str host);
bool access_host_allowed(const struct access *a, struct str host);
bool access_key_valid(const struct access *a, struct str key); /* true if none is set */
