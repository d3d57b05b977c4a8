/* library: a shared library that is opened at its first use, since linking it would cost every idle server memory. Its
 * functions come as a table of pointers with the types of its own headers.
 *
 * A `struct library` is static; any thread may open it. It stays open until the process ends. */
#pragma once
#include "base/err.h"
#include <pthread.h>
#include <stddef.h>

struct library_symbol {
    const char *name;
    size_t offset; /* of its pointer in the table */
    bool optional; /* NULL there when the library has none */
};

struct library {
    const char *title;    /* in errors */
    const char *without;  /* what there is not when it cannot be opened */
    const char *names[3]; /* of the file, tried in order; NULL ends them */
    const struct library_symbol *symbols;
    size_t symbol_count;
    void *table;
    bool (*init)(void *table); /* once, before anybody uses it; may be NULL */
    pthread_mutex_t lock;      /* PTHREAD_MUTEX_INITIALIZER */
    bool opened;               /* its own */
};

/* The filled table, the same at every call; NULL (ERR_UPSTREAM) when the library cannot be opened or lacks a function. */
const void *library_open(struct library *l, struct err **e);
