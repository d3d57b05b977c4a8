#define PCRE2_CODE_UNIT_WIDTH 8
#include "net/access.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include <arpa/inet.h>
#include <pcre2.h>
#include <stdlib.h>

/* Origins are short; the limits end what a careless expression does with a hostile one. */
#define ORIGIN_MAX 512
#define REGEX_MATCH_LIMIT 10000
#define REGEX_HEAP_KIB_MAX 64

struct access {
    VEC(struct str) keys, origins, hosts; /* copies, NUL-terminated */
    char *bound_host;
    pcre2_code *regex;
    pcre2_match_data *regex_match;
    pcre2_match_context *regex_limits;
};

/* "host:port" or "[address]:port"; *port may be empty. */
static struct str split_port(struct str host, struct str *port)
{
    ssize_t colon = str_rfind_char(host, ':'), bracket = str_rfind_char(host, ']');
    *port = STR("");
    if (colon >= 0 && colon > bracket) {
        *port = str_sub(host, (size_t)colon + 1, host.n);
        host = str_sub(host, 0, (size_t)colon);
    }
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_sub(host, 1, host.n - 1);
    return host;
}

static bool address_parse(struct str name, int family, void *out)
{
    char text[INET6_ADDRSTRLEN];
    if (name.n >= sizeof(text))
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    return inet_pton(family, text, out) == 1;
}

static bool is_address(struct str name)
{
    struct in6_addr address;
    return address_parse(name, AF_INET, &address) || address_parse(name, AF_INET6, &address);
}

static bool is_loopback(struct str name)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (str_eq_nocase(name, STR("localhost")))
        return true;
    if (address_parse(name, AF_INET, &v4))
        return (ntohl(v4.s_addr) >> 24) == 127;
    return address_parse(name, AF_INET6, &v6) &&
           (IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127));
}

static bool regex_compile(struct access *a, struct str pattern, struct err **e)
{
    int code;
    PCRE2_SIZE at;
    a->regex = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF,
                             &code, &at, NULL);
    if (!a->regex) {
        char message[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof(message));
        return err_set(e, ERR_INVALID, "the expression for allowed origins is wrong at character %zu: %s", at,
                       message);
    }
    a->regex_match = pcre2_match_data_create_from_pattern(a->regex, NULL);
    a->regex_limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(a->regex_limits, REGEX_MATCH_LIMIT);
    pcre2_set_heap_limit(a->regex_limits, REGEX_HEAP_KIB_MAX);
    return true;
}

struct access *access_new(const struct access_config *config, struct err **e)
{
    struct access *a = xcalloc(1, sizeof(*a));
    a->bound_host = str_dup(config->bound_host);
    for (size_t i = 0; i < config->key_count; i++)
        vec_push(&a->keys, str_make(str_dup(config->keys[i]), config->keys[i].n));
    for (size_t i = 0; i < config->origin_count; i++) {
        struct str origin = config->origins[i];
        if (str_ends(origin, STR("/"))) /* people write it so; browsers never send it */
            origin = str_sub(origin, 0, origin.n - 1);
        vec_push(&a->origins, str_make(str_dup(origin), origin.n));
    }
    for (size_t i = 0; i < config->host_count; i++)
        vec_push(&a->hosts, str_make(str_dup(config->hosts[i]), config->hosts[i].n));
    if (config->origin_regex.p && !regex_compile(a, config->origin_regex, e)) {
        access_free(a);
        return NULL;
    }
    return a;
}

void access_free(struct access *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->keys.n; i++) {
        explicit_bzero((char *)a->keys.at[i].p, a->keys.at[i].n);
        free((char *)a->keys.at[i].p);
    }
    for (size_t i = 0; i < a->origins.n; i++)
        free((char *)a->origins.at[i].p);
    for (size_t i = 0; i < a->hosts.n; i++)
        free((char *)a->hosts.at[i].p);
    vec_deinit(&a->keys);
    vec_deinit(&a->origins);
    vec_deinit(&a->hosts);
    pcre2_match_data_free(a->regex_match);
    pcre2_match_context_free(a->regex_limits);
    pcre2_code_free(a->regex);
    free(a->bound_host);
    free(a);
}

static bool regex_allows(const struct access *a, struct str origin)
{
    return a->regex &&
           pcre2_match(a->regex, (PCRE2_SPTR)origin.p, origin.n, 0, 0, a->regex_match, a->regex_limits) >= 0;
}

/* "80" for http without a port. */
static struct str effective_port(struct str port, bool https)
{
    return port.n > 0 ? port : https ? STR("443") : STR("80");
}

bool access_origin_allowed(const struct access *a, struct str origin, struct str host)
{
    if (origin.n > ORIGIN_MAX)
        return false;
    for (size_t i = 0; i < a->origins.n; i++)
        if (str_eq_nocase(a->origins.at[i], origin))
            return true;
    bool https = str_starts_nocase(origin, STR("https://"));
    if (!https && !str_starts_nocase(origin, STR("http://")))
        return false; /* "null" too */
    struct str port, host_port;
    struct str name = split_port(str_sub(origin, https ? 8 : 7, origin.n), &port);
    if (name.n == 0)
        return false;
    if (is_loopback(name) || regex_allows(a, origin))
        return true;
    for (size_t i = 0; i < a->origins.n; i++)
        if (str_is(a->origins.at[i], "*") || str_eq_nocase(a->origins.at[i], name))
            return true;
    /* Our own pages. The name in Host was checked already, or a key protects us. A proxy may have turned https into
     * http, and its default port is then the one that Host leaves out. */
    struct str own = split_port(host, &host_port);
    return str_eq_nocase(own, name) && str_eq(effective_port(port, https), effective_port(host_port, https));
}

bool access_host_allowed(const struct access *a, struct str host)
{
    struct str port, name;
    if (a->keys.n > 0 || !host.p) /* no browser leaves Host out */
        return true;
    name = split_port(host, &port);
    if (is_loopback(name) || str_eq_nocase(name, str_from(a->bound_host)))
        return true;
    for (size_t i = 0; i < a->hosts.n; i++)
        if (str_eq_nocase(name, a->hosts.at[i]) || str_eq_nocase(host, a->hosts.at[i]))
            return true;
    /* Bound to every address: any of them may be meant, and rebinding needs a name. */
    bool everywhere = strcmp(a->bound_host, "0.0.0.0") == 0 || strcmp(a->bound_host, "::") == 0;
    return everywhere && is_address(name);
}

bool access_key_valid(const struct access *a, struct str key)
{
    bool valid = a->keys.n == 0;
    for (size_t i = 0; i < a->keys.n; i++)
        valid |= str_eq_secret(a->keys.at[i], key); /* no early end */
    return valid;
}
