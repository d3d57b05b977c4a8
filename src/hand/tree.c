#include "hand/tree.h"
#include "base/buf.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

void tree_deinit(struct tree *t)
{
    vec_deinit(&t->at);
}

static bool read_small(const char *path, struct buf *out)
{
    autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 4096), 4096);
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        out->n += (size_t)n;
    }
}

/* Parent and group of a process. The name in /proc/PID/stat may contain anything, so reading begins behind its end. */
static bool process_read(pid_t pid, struct process *out)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    autobuf text = {0};
    if (!read_small(path, &text))
        return false;
    ssize_t at = str_rfind_char(buf_str(&text), ')');
    char state;
    int parent, group;
    if (at < 0 || sscanf(text.p + at + 1, " %c %d %d", &state, &parent, &group) != 3)
        return false;
    *out = (struct process){pid, parent, group, state == 'Z' || state == 'X'};
    return true;
}

static void add_children_of_thread(struct tree *t, pid_t pid, const char *thread)
{
    char path[128];
    snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", (int)pid, thread);
    autobuf text = {0};
    if (!read_small(path, &text))
        return;
    struct str rest = buf_str(&text), word;
    while (str_split(&rest, ' ', &word)) {
        int64_t child;
        struct process p;
        if (str_to_i64(word, &child) && process_read((pid_t)child, &p) && t->at.n < TREE_MAX)
            vec_push(&t->at, p);
    }
}

/* Children are listed by the thread that made them. */
static void add_children(struct tree *t, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.')
            add_children_of_thread(t, pid, entry->d_name);
    closedir(d);
}

/* For kernels without /proc/PID/task/TID/children: all processes of the machine, once. */
static void list_all(struct tree *all)
{
    DIR *d = opendir("/proc");
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));) {
        int64_t pid;
        struct process p;
        if (str_to_i64(str_from(entry->d_name), &pid) && process_read((pid_t)pid, &p) && all->at.n < TREE_MAX)
            vec_push(&all->at, p);
    }
    closedir(d);
}

static bool children_are_listed(void)
{
    static int known; /* 0: not yet asked */
    if (!known) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
        known = access(path, R_OK) == 0 ? 1 : 2;
    }
    return known == 1;
}

void tree_list(struct tree *t, pid_t root)
{
    t->at.n = 0;
    if (children_are_listed()) {
        add_children(t, root);
        for (size_t i = 0; i < t->at.n; i++)
            add_children(t, t->at.at[i].pid);
        return;
    }
    struct tree all = {0};
    list_all(&all);
    for (size_t i = 0; i <= t->at.n; i++) {
        pid_t parent = i == 0 ? root : t->at.at[i - 1].pid;
        for (size_t j = 0; j < all.at.n; j++)
            if (all.at.at[j].parent == parent && t->at.n < TREE_MAX)
                vec_push(&t->at, all.at.at[j]);
    }
    tree_deinit(&all);
}

void tree_signal(pid_t root, int signal)
{
    struct tree t = {0};
    tree_list(&t, root);
    pid_t own = getpgrp();
    /* A group at once first: a process that forks faster than we look cannot leave its group unseen. */
    for (size_t i = 0; i < t.at.n; i++)
        if (signal == SIGKILL && t.at.at[i].group > 1 && t.at.at[i].group != own)
            kill(-t.at.at[i].group, signal);
    for (size_t i = 0; i < t.at.n; i++) {
        kill(t.at.at[i].pid, signal);
        if (signal != SIGKILL)
            kill(t.at.at[i].pid, SIGCONT); /* a stopped one would not hear it */
    }
    tree_deinit(&t);
}
