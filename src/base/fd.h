/* fd: whole reads and writes on file descriptors, and the mind's own small files. All descriptors are close-on-exec. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

bool fd_write_all(int fd, struct str data, struct err **e);
/* Reads until the end or until more than `max` bytes came (ERR_TOO_LARGE). */
bool fd_read_all(int fd, size_t max, struct buf *out, struct err **e);
bool fd_set_nonblocking(int fd, bool on);
/* Reads a file of our own configuration or data directory; `max` bounds it. Regular files only. */
bool file_read(const char *path, size_t max, struct buf *out, struct err **e);
/* Writes a temporary file beside it, syncs it, renames it and syncs the directory. */
bool file_write_atomic(const char *path, struct str data, unsigned mode, struct err **e);
bool dir_make(const char *path, unsigned mode, struct err **e); /* mkdir -p */
