/* thread: starting threads with a small fixed stack and a name that tools show. Signals are blocked in all of them;
 * main handles signals. */
#pragma once
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

/* Stack of a conversation thread. Sanitizers need more. tests/ paint stacks and print the high-water mark. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define THREAD_STACK_BYTES (1024 * 1024)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define THREAD_STACK_BYTES (1024 * 1024)
#endif
#endif
#ifndef THREAD_STACK_BYTES
#define THREAD_STACK_BYTES (256 * 1024)
#endif

/* Starts `run(arg)`. `name` has at most 15 characters. Joinable unless `out` is NULL (then detached). */
bool thread_start(pthread_t *out, const char *name, size_t stack_bytes, void (*run)(void *), void *arg,
                  struct err **e);
#define WITH_LOCK(mutex) \
    for (pthread_mutex_t *lock_ = thread_lock(mutex); lock_; thread_unlock(lock_), lock_ = NULL)
/* pthread_mutex_lock/unlock that abort on misuse. */
pthread_mutex_t *thread_lock(pthread_mutex_t *m);
void thread_unlock(pthread_mutex_t *m);
void thread_cond_init(pthread_cond_t *c); /* on the monotonic clock */
/* Waits until signalled or `deadline_ns` of clock_mono_ns() (0: no deadline). False when the deadline passed. */
bool thread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline_ns);
