#include "net/router.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include <stdlib.h>

#define ROUTE_ARGS_MAX 4096 /* bytes of a route's C struct */

struct node {
    struct str segment;          /* of the literal that leads here */
    VEC(struct node *) literals; /* sorted by segment */
    struct node *param;          /* "{name}" */
    struct node *rest;           /* "{name:path}" */
    const struct route *routes[HTTP_METHODS];
    const struct route *socket;
};

struct router {
    struct node root;
};

struct walk {
    enum http_method method;
    bool socket;
    struct route_match *match;
    struct str values[ROUTE_PARAMS_MAX];
};

/* Takes the next segment off the path, which is behind a slash; false at its end. */
static bool segment_next(struct str *path, struct str *segment)
{
    return str_split(path, '/', segment);
}

static bool is_param(struct str segment)
{
    return segment.n > 2 && segment.p[0] == '{' && segment.p[segment.n - 1] == '}';
}

static bool is_rest(struct str segment)
{
    return is_param(segment) && str_ends(segment, STR(":path}"));
}

/* ---- building ---- */

static size_t literal_place(const struct node *n, struct str segment, bool *found)
{
    size_t low = 0, high = n->literals.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (str_cmp(n->literals.at[middle]->segment, segment) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < n->literals.n && str_eq(n->literals.at[low]->segment, segment);
    return low;
}

static struct node *literal_add(struct node *n, struct str segment)
{
    bool found;
    size_t at = literal_place(n, segment, &found);
    if (found)
        return n->literals.at[at];
    struct node *child = xcalloc(1, sizeof(*child));
    child->segment = segment;
    vec_push(&n->literals, child);
    for (size_t i = n->literals.n - 1; i > at; i--)
        n->literals.at[i] = n->literals.at[i - 1];
    n->literals.at[at] = child;
    return child;
}

static struct node *child_add(struct node *n, struct str segment)
{
    if (!is_param(segment))
        return literal_add(n, segment);
    struct node **child = is_rest(segment) ? &n->rest : &n->param;
    if (!*child)
        *child = xcalloc(1, sizeof(**child));
    return *child;
}

/* A table is part of the program: a mistake in it ends the program at its first start. */
static void route_add(struct router *r, const struct route *route)
{
    struct node *n = &r->root;
    struct str path = str_from(route->path), segment;
    size_t params = 0;
    if (path.n == 0 || path.p[0] != '/')
        abort();
    path = str_sub(path, 1, path.n);
    while (segment_next(&path, &segment)) {
        params += is_param(segment);
        n = child_add(n, segment);
        if (is_rest(segment) && path.p)
            abort();
    }
    const struct route **place = route->flags & ROUTE_SOCKET ? &n->socket : &n->routes[route->method];
    if (*place || params > ROUTE_PARAMS_MAX || route->args_size > ROUTE_ARGS_MAX)
        abort();
    *place = route;
}

struct router *router_new(const struct route *routes, size_t count)
{
    struct router *r = xcalloc(1, sizeof(*r));
    for (size_t i = 0; i < count; i++)
        route_add(r, &routes[i]);
    return r;
}

static void node_deinit(struct node *n)
{
    for (size_t i = 0; i < n->literals.n; i++) {
        node_deinit(n->literals.at[i]);
        free(n->literals.at[i]);
    }
    vec_deinit(&n->literals);
    struct node *others[] = {n->param, n->rest};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (others[i])
            node_deinit(others[i]);
        free(others[i]);
    }
}

void router_free(struct router *r)
{
    if (!r)
        return;
    node_deinit(&r->root);
    free(r);
}

/* ---- matching ---- */

/* The path ends at this node. True ends the search. */
static bool node_settle(const struct node *n, struct walk *w, size_t params)
{
    const struct route *route = NULL;
    if (w->socket)
        route = n->socket;
    else if (w->method < HTTP_METHODS)
        route = n->routes[w->method];
    if (route) {
        w->match->route = route;
        memcpy(w->match->values, w->values, params * sizeof(w->values[0]));
    }
    for (unsigned m = 0; !w->socket && m < HTTP_METHODS; m++)
        if (n->routes[m])
            w->match->methods |= 1u << m;
    return route != NULL;
}

/* A node can be reached by several ways (a literal and a parameter): the first that has the method wins, and what the
 * others have counts for Allow. The depth is bounded by the table's. */
static bool node_match(const struct node *n, struct str path, struct walk *w, size_t params)
{
    struct str rest = path, segment;
    if (!segment_next(&rest, &segment))
        return node_settle(n, w, params);
    bool found;
    size_t at = literal_place(n, segment, &found);
    if (found && node_match(n->literals.at[at], rest, w, params))
        return true;
    if (params == ROUTE_PARAMS_MAX)
        return false;
    if (n->param && segment.n > 0) {
        w->values[params] = segment;
        if (node_match(n->param, rest, w, params + 1))
            return true;
    }
    if (!n->rest)
        return false;
    w->values[params] = path;
    return node_settle(n->rest, w, params + 1);
}

void router_match(const struct router *r, struct str path, enum http_method method, bool socket,
                  struct route_match *match)
{
    *match = (struct route_match){0};
    if (path.n == 0 || path.p[0] != '/')
        return;
    struct walk w = {.method = method, .socket = socket, .match = match};
    node_match(&r->root, str_sub(path, 1, path.n), &w, 0);
}

struct str route_param_name(const struct route *route, size_t n)
{
    struct str path = str_from(route->path), segment;
    while (segment_next(&path, &segment)) {
        if (!is_param(segment) || n-- > 0)
            continue;
        segment = str_sub(segment, 1, segment.n - 1);
        return str_ends(segment, STR(":path")) ? str_sub(segment, 0, segment.n - 5) : segment;
    }
    return STR_NONE;
}

void router_methods_write(unsigned methods, struct buf *out)
{
    static const char *const names[HTTP_METHODS] = {"GET, HEAD", "POST", "PUT", "PATCH", "DELETE"};
    for (unsigned m = 0; m < HTTP_METHODS; m++)
        if (methods & 1u << m)
            buf_addf(out, "%s, ", names[m]);
    buf_add(out, STR("OPTIONS"));
}
