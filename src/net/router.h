/* router: a route table compiled to a tree of path segments. A literal segment goes before a parameter, a parameter
 * before the rest of the path. Built once, then read by the loop thread. */
#pragma once
#include "net/server.h"

/* Parameters of one path; a table with more is refused at start. */
#define ROUTE_PARAMS_MAX 8

struct router;

struct route_match {
    const struct route *route;           /* NULL when nothing matches path and method */
    unsigned methods;                    /* bit per http_method that the path has; 0: unknown path */
    struct str values[ROUTE_PARAMS_MAX]; /* of route's parameters in their order, within the path */
};

struct router *router_new(const struct route *routes, size_t count);
void router_free(struct router *r);
/* `path` is decoded. A socket route matches only when `socket`, the others only when not. With the method HTTP_METHODS
 * nothing matches and `methods` tells what there is. */
void router_match(const struct router *r, struct str path, enum http_method method, bool socket,
                  struct route_match *match);
/* Name of the n-th parameter of the route's path; STR_NONE past the last. */
struct str route_param_name(const struct route *route, size_t n);
/* "GET, HEAD, POST" */
void router_methods_write(unsigned methods, struct buf *out);
