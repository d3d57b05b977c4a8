/* log: one line per message on standard error: time, level, text. Thread-safe. Never give it a key or a secret; request
 * lines go through log_mask_query first. */
#pragma once
#include "base/buf.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level); /* default LOG_INFO */
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                         \
    do {                                       \
        if (log_enabled(LOG_DEBUG))            \
            log_write(LOG_DEBUG, __VA_ARGS__); \
    } while (0)
/* Where messages go in place of standard error: one line, escaped, without time, level and end. From any thread; it must not
 * log. NULL: standard error again. */
typedef void (*log_sink)(enum log_level level, struct str text);
void log_set_sink(log_sink to);
/* Adds a request target with control characters escaped and every query value replaced by `*`. */
void log_mask_query(struct buf *out, struct str target);
