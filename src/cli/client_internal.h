/* client_internal: what the two files of the client share. */
#pragma once
#include "cli/client.h"
#include "net/outward.h"

struct client {
    char *base_url, *key;
    struct outward *outward;
    int signals; /* that end what waits; -1: none is heeded */
};
