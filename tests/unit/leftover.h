/* leftover: what a test leaves behind: folders and processes. */
#pragma once
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Removes a folder that the test made with mkdtemp; 0 if it went well, as a teardown says it. */
static inline int folder_remove(const char *path)
{
    char command[256];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    return system(command); // NOLINT(cert-env33-c): our own folder
}

/* Waits until a process is gone: a pidfd becomes readable when it ends, whoever its parent is. */
static inline bool process_ends(pid_t pid, int ms)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ESRCH;
    struct pollfd polled = {fd, POLLIN, 0};
    int n = poll(&polled, 1, ms);
    close(fd);
    return n > 0;
}
