#include "hand/terminal/shell.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/uuid.h"
#include "hand/env.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#ifndef TIOCSIG
#define TIOCSIG _IOW('T', 0x36, int)
#endif

#define TTY_NAME 32
#define LINE_MAX_CANONICAL 4095 /* of the kernel's terminals; the rest of a longer line is lost */

/* The inherited memory file. bash's own descriptors begin at 10 and end at 255 (the terminal), process substitutions
 * count down from 63; sh takes only one digit. */
#define BASH_TRIGGER ". /proc/self/fd/87\n"
#define SH_TRIGGER ". /proc/self/fd/9\n"
#define BASH_BEGIN "exec 87<&0 0<&1; exec -a bash \"$0\" --norc --noprofile --noediting -i"
#define SH_BEGIN "exec 9<&0 0<&1; exec \"$0\" -i"

/* The prompts. %N is the nonce. A command finds them in place, so that one that leaves the script early (`return`, an
 * interrupt) ends like any other, and the tail of the script puts them in place again, whatever the command made of them.
 * In bash the mark is written to the shell's own descriptor of the terminal, so that `exec >file 2>&1` cannot swallow it;
 * before that, lines that were typed and read by nobody are dropped: they would be taken for commands. That is bounded, and
 * by nothing that is executed: a DEBUG trap can make every command a success that does nothing. The values of variables
 * are looked at when the prompt is made.
 * Should the command have replaced the first item of PROMPT_COMMAND, or closed that descriptor, the second item (from
 * bash 5.1 on) writes a mark that says "a prompt, but no end was told". It is not in PS1: bash 5.2 damages its heap when an
 * unfinished `$(` ends a command while PS1 is not empty. */
#define BASH_STATUS "__handsd_status_%N"
#define BASH_TOLD "__handsd_told_%N"
#define TEN_TIMES "for _ in 0 1 2 3 4 5 6 7 8 9; do "
#define BASH_DRAIN                                                      \
    "if builtin read -rt 0 -u 255; then " TEN_TIMES TEN_TIMES TEN_TIMES \
    "builtin read -rt 0 -u 255 && builtin read -rt 0.01 -u 255 _ || break 3; done; done; done; fi; "
#define BASH_PROMPT                                                                          \
    "{ " BASH_STATUS "=${" BASH_STATUS "-$?}; " BASH_DRAIN "builtin printf \"\\033]" VT_MARK \
    ";%s;E%s;%s;%s;%s\\037%s\\037%s%s\\a\" %N \"$" BASH_STATUS "\" \"${!:-}\" \"$-\" "       \
    "\"${PWD-}\" %N \"${PATH-}\" %N >&255 && " BASH_TOLD "=; unset -v " BASH_STATUS "; } 2>&-"
#define BASH_MARK "builtin printf \"\\033]" VT_MARK ";%s;P%s\\a\" %N %N"
#define BASH_UNTOLD                                                                     \
    "{ case ${" BASH_TOLD "-x} in x) " BASH_MARK " >&255 || " BASH_MARK " >/dev/tty;; " \
    "*) unset -v " BASH_TOLD ";; esac; } 2>&-"
/* Kept in variables: for the tail it is quicker to copy them than to read them again. */
#define BASH_DEFINE "__handsd_prompt_%N='" BASH_PROMPT "' __handsd_untold_%N='" BASH_UNTOLD "'; "
#define BASH_READY "PROMPT_COMMAND=$__handsd_prompt_%N PROMPT_COMMAND[1]=$__handsd_untold_%N PS1= PS2="
#define SH_READY(status) \
    "PS1='\033]" VT_MARK ";%N;E'" status "';${!:-};$-;${PWD-}\037%N\037${PATH-}%N\a' PS2="

/* `set -e` ends with the command that says it: a shell that dies of the next grep helps nobody. */
#define BASH_ENDED "{ " BASH_STATUS "=$?; "
#define SH_ENDED "{ " SH_READY("$?") "; "
#define BASH_TAIL "set +e; unset -f builtin; " BASH_READY "; } 2>&-\n"
#define SH_TAIL "set +e; } 2>&-\n"
#define BASH_INIT                                                                                  \
    "{ set +o history; set +H; unset -v HISTFILE MAILCHECK; IGNOREEOF=10; " BASH_DEFINE BASH_READY \
    "; } 2>&-\n"
#define SH_INIT ""
#define BASH_HEAD                                                                               \
    "{ set +e; builtin printf '\\033]" VT_MARK ";%s;S%s\\a' %N %N >&255; unset -v " BASH_STATUS \
    " " BASH_TOLD "; "
#define SH_HEAD "{ set +e; command printf '\\033]" VT_MARK ";%s;S%s\\a' %N %N; " SH_READY("'$?'") "; "
#define BASH_REVIVE BASH_DEFINE "exec 255<>/dev/tty; " /* somebody may have closed it */
#define SH_REVIVE ""

struct words {
    const char *begin, *trigger, *init, *head, *ended, *tail, *revive;
    const char *builtin; /* what makes sure that a builtin is meant */
};

static const struct words words[] = {
    {BASH_BEGIN, BASH_TRIGGER, BASH_INIT, BASH_HEAD, BASH_ENDED, BASH_TAIL, BASH_REVIVE, "builtin"},
    {SH_BEGIN, SH_TRIGGER, SH_INIT, SH_HEAD, SH_ENDED, SH_TAIL, SH_REVIVE, "command"},
};

static const struct words *words_of(const struct shell *s)
{
    return &words[s->plain];
}

/* --- starting --------------------------------------------------------------------------------- */

static int memory_file(struct err **e)
{
    int fd = memfd_create("command", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* a kernel before 6.3 */
        fd = memfd_create("command", MFD_CLOEXEC);
    if (fd < 0)
        err_errno(e, ERR_INTERNAL, "cannot make a memory file for the shell's commands");
    return fd;
}

/* No XON/XOFF: a stray Ctrl-S would stop everything. */
static void modes_ordinary(struct termios *t)
{
    t->c_iflag = ICRNL | IUTF8;
    t->c_oflag = OPOST | ONLCR;
    t->c_cflag = CS8 | CREAD | B38400;
    t->c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
    static const unsigned char codes[][2] = {
        {VINTR, 3},    {VQUIT, 28},  {VERASE, 0x7f}, {VKILL, 21}, {VEOF, 4},  {VSUSP, 26},
        {VWERASE, 23}, {VLNEXT, 22}, {VREPRINT, 18}, {VMIN, 1},   {VTIME, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        t->c_cc[codes[i][0]] = codes[i][1];
}

static bool pty_open(struct shell *s, const struct shell_spec *spec, char name[TTY_NAME], struct err **e)
{
    int unlock = 0, number = 0;
    s->master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (s->master < 0 || ioctl(s->master, TIOCSPTLCK, &unlock) < 0 || ioctl(s->master, TIOCGPTN, &number) < 0)
        return err_errno(e, ERR_INTERNAL, "cannot make a terminal (/dev/ptmx)");
    snprintf(name, TTY_NAME, "/dev/pts/%d", number);
    s->slave = ioctl(s->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (s->slave < 0)
        s->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (s->slave < 0)
        return err_errno(e, ERR_INTERNAL, "cannot open the terminal %s", name);
    struct winsize size = {.ws_row = (unsigned short)spec->rows, .ws_col = (unsigned short)spec->columns};
    struct termios t = {0};
    tcgetattr(s->slave, &t);
    modes_ordinary(&t);
    if (tcsetattr(s->slave, TCSANOW, &t) < 0 || ioctl(s->master, TIOCSWINSZ, &size) < 0)
        return err_errno(e, ERR_INTERNAL, "cannot set up the terminal %s", name);
    return true;
}

/* Where the shell program is. */
static bool find_program(struct shell *s, char *const *env, struct buf *out, struct err **e)
{
    static const char *const usual[] = {"/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"};
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        if (access(usual[i], X_OK) == 0) {
            buf_add_cstr(out, usual[i]);
            return true;
        }
    if (environment_program(env, "bash", out))
        return true;
    buf_clear(out); /* it holds the last place that was looked at */
    s->plain = true;
    if (access("/bin/sh", X_OK) == 0) {
        buf_add_cstr(out, "/bin/sh");
        return true;
    }
    if (environment_program(env, "sh", out))
        return true;
    return err_set(e, ERR_NOT_FOUND, "there is no shell here: neither bash nor sh was found");
}

/* Nothing that a program prints may wait for a reader at a keyboard. */
static char **shell_environment(struct hand *h)
{
    static const char *const settings[] = {
        "TERM=xterm-256color", "PAGER=cat", "GIT_PAGER=cat", "MANPAGER=cat", "SYSTEMD_PAGER=cat",
    };
    autobuf fields = {0};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        wire_add_str(&fields, F_ENV, str_from(settings[i]));
    return environment_with(hand_environment(h), buf_str(&fields));
}

static bool shell_launch(struct shell *s, struct hand *h, const struct shell_spec *spec, const char *tty,
                         struct err **e)
{
    autobuf program = {0};
    if (!find_program(s, hand_environment(h), &program, e))
        return false;
    autofd int end = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC); /* ours does not block, the shell's must */
    if (end < 0)
        return err_errno(e, ERR_INTERNAL, "cannot open the terminal %s", tty);
    /* The shell's first self only arranges the descriptors. */
    char dash_c[] = "-c", norc[] = "--norc", noprofile[] = "--noprofile";
    autofree char *begin = str_dup(str_from(words_of(s)->begin));
    char *bash[] = {program.p, norc, noprofile, dash_c, begin, program.p, NULL};
    char *sh[] = {program.p, dash_c, begin, program.p, NULL};
    char **env = shell_environment(h);
    struct keeper_spec k = {
        .argv = s->plain ? sh : bash,
        .env = env,
        .cwd = spec->cwd,
        .fds = {s->control, end, end},
        .tty = tty,
    };
    s->keeper = keeper_start(h, &k, spec->on_exit, spec->arg, e);
    environment_free(env);
    if (!s->keeper)
        return false;
    s->pid = keeper_pid(s->keeper);
    return true;
}

bool shell_start(struct shell *s, struct hand *h, const struct shell_spec *spec, struct err **e)
{
    struct uuid random = uuid_random();
    char tty[TTY_NAME] = "";
    *s = SHELL_CLOSED;
    uuid_hex(&random, s->nonce);
    if (access("/proc/self/fd", X_OK) < 0)
        return err_errno(e, ERR_INTERNAL, "a shell needs /proc");
    if ((s->control = memory_file(e)) < 0 || !pty_open(s, spec, tty, e) ||
        !shell_launch(s, h, spec, tty, e)) {
        shell_close(s);
        return false;
    }
    return true;
}

void shell_close(struct shell *s)
{
    int *const all[] = {&s->master, &s->slave, &s->control};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (*all[i] >= 0)
            close(*all[i]);
        *all[i] = -1;
    }
    s->keeper = NULL;
    s->pid = 0;
}

/* --- scripts ------------------------------------------------------------------------------------ */

/* Adds a script with the nonce in place of %N. */
static void add_words(const struct shell *s, struct buf *out, const char *text)
{
    struct str rest = str_from(text);
    ssize_t at;
    while ((at = str_find(rest, STR("%N"))) >= 0) {
        buf_add(out, str_sub(rest, 0, (size_t)at));
        buf_add_bytes(out, s->nonce, VT_NONCE);
        rest = str_sub(rest, (size_t)at + 2, rest.n);
    }
    buf_add(out, rest);
}

static void add_quoted(struct buf *out, struct str value)
{
    buf_add_char(out, '\'');
    struct str part;
    for (bool more = false; str_split(&value, '\'', &part); more = true) {
        if (more)
            buf_add(out, STR("'\\''"));
        buf_add(out, part);
    }
    buf_add_char(out, '\'');
}

bool shell_env_valid(struct str item)
{
    ssize_t equals = str_find_char(item, '=');
    if (equals <= 0 || str_find_char(item, '\0') >= 0 || (item.p[0] >= '0' && item.p[0] <= '9'))
        return false;
    for (ssize_t i = 0; i < equals; i++) {
        char c = item.p[i];
        if (c != '_' && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z'))
            return false;
    }
    return true;
}

static void add_exports(const struct shell *s, struct buf *out, struct str fields)
{
    struct wire_fields f = {fields};
    enum wire_field tag;
    struct str item;
    while (wire_fields_next(&f, &tag, &item, NULL)) {
        if (tag != F_ENV)
            continue;
        size_t name = (size_t)str_find_char(item, '=') + 1;
        buf_addf(out, "%s export ", words_of(s)->builtin);
        buf_add(out, str_sub(item, 0, name));
        struct str value = str_sub(item, name, item.n);
        add_quoted(out, value.n ? value : STR(""));
        buf_add(out, STR(" || :; "));
    }
}

static bool file_fill(int fd, struct str content, struct err **e)
{
    if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(e, ERR_INTERNAL, "cannot empty the shell's command file");
    return fd_write_all(fd, content, e);
}

/* `$?` as the command must find it. The only fork, and only after a failure. */
static void add_status(struct buf *out, int status)
{
    if (status > 0 && status < 256)
        buf_addf(out, "(exit %d) && :; ", status);
}

/* Nothing of the script may be seen under `set -x` and `set -v`, but all of the command: they are switched off before
 * `eval` and on again by the first words that it reads, or by the tail if it could not read them. */
static void add_command(const struct shell *s, struct buf *out, const struct shell_command *c)
{
    autobuf text = {0};
    if (s->trace[0]) {
        buf_addf(out, "__handsd_trace=; set +%s; } 2>&-\n", s->trace);
        buf_addf(&text, "{ set -%s; unset -v __handsd_trace; ", s->trace);
        add_status(&text, c->status);
        buf_add(&text, STR("} 2>&-;"));
    } else {
        add_status(out, c->status);
        buf_add(out, STR("} 2>&-\n"));
    }
    buf_add(&text, c->text);
    if (str_ends(c->text, STR("\\"))) /* bash 5.2 stumbles over one at the very end */
        buf_add(&text, STR("\n\n"));
    buf_add(out, STR("eval "));
    add_quoted(out, buf_str(&text));
    buf_add_char(out, '\n');
}

static void add_tail(const struct shell *s, struct buf *out, const char *revive)
{
    const struct words *w = words_of(s);
    add_words(s, out, w->ended);
    add_words(s, out, revive);
    if (s->trace[0])
        buf_addf(out, "case ${__handsd_trace+y} in y) set -%s; unset -v __handsd_trace;; esac; ", s->trace);
    add_words(s, out, w->tail);
}

bool shell_load(struct shell *s, const struct shell_command *c, struct err **e)
{
    const struct words *w = words_of(s);
    autobuf script = {0};
    if (c->first)
        add_words(s, &script, w->init);
    add_words(s, &script, w->head);
    add_exports(s, &script, c->fields);
    add_command(s, &script, c);
    add_tail(s, &script, "");
    return file_fill(s->control, buf_str(&script), e);
}

bool shell_load_repair(struct shell *s, struct err **e)
{
    autobuf script = {0};
    add_tail(s, &script, words_of(s)->revive);
    return file_fill(s->control, buf_str(&script), e);
}

struct str shell_trigger(const struct shell *s)
{
    return str_from(words_of(s)->trigger);
}

void shell_forget(struct shell *s)
{
    (void)!ftruncate(s->control, 0);
}

/* What was written to the terminal lies in two places: on its way, and in the line discipline. */
void shell_flush_input(const struct shell *s)
{
    ioctl(s->master, TCFLSH, TCOFLUSH);
    ioctl(s->slave, TCFLSH, TCIFLUSH);
}

void shell_before_interrupt(const struct shell *s)
{
    struct termios now = {0};
    if (tcgetattr(s->slave, &now) == 0 && (now.c_lflag & ISIG))
        shell_flush_input(s);
}

void shell_settle(struct shell *s)
{
    struct termios now = {0}, wanted;
    shell_flush_input(s);
    if (tcgetattr(s->slave, &now) < 0)
        return;
    wanted = now;
    modes_ordinary(&wanted);
    if (now.c_iflag != wanted.c_iflag || now.c_oflag != wanted.c_oflag || now.c_cflag != wanted.c_cflag ||
        now.c_lflag != wanted.c_lflag || memcmp(now.c_cc, wanted.c_cc, sizeof(now.c_cc)) != 0)
        tcsetattr(s->slave, TCSANOW, &wanted);
}

/* --- cleaning ------------------------------------------------------------------------------------- */

static void erase(struct buf *text, size_t from, size_t to)
{
    memmove(text->p + from, text->p + to, text->n - to);
    buf_truncate(text, text->n - (to - from));
}

/* Where a line that begins with our word at `at` begins: before it there may be what `set -x` puts there. */
static size_t trace_begin(const struct buf *text, size_t at)
{
    size_t begin = at;
    while (begin > 0 && (text->p[begin - 1] == '+' || text->p[begin - 1] == ' '))
        begin--;
    return begin == 0 || text->p[begin - 1] == '\n' ? begin : at;
}

/* Erases `word`, which ends in a newline, with its trace prefix, where it stands from `from` on. */
static void erase_word(struct buf *text, size_t from, struct str word)
{
    ssize_t found;
    while ((found = str_find(str_sub(buf_str(text), from, text->n), word)) >= 0) {
        size_t at = from + (size_t)found;
        erase(text, trace_begin(text, at), at + word.n);
    }
}

/* Erases whole lines with the nonce, looking only at the last CLEAN_BYTES. */
#define CLEAN_BYTES 16384
static void erase_nonce_lines(const struct shell *s, struct buf *text)
{
    size_t from = text->n > CLEAN_BYTES ? text->n - CLEAN_BYTES : 0;
    ssize_t found;
    while ((found = str_find(str_sub(buf_str(text), from, text->n), str_make(s->nonce, VT_NONCE))) >= 0) {
        size_t at = from + (size_t)found, end = at;
        while (at > 0 && text->p[at - 1] != '\n')
            at--;
        while (end < text->n && text->p[end] != '\n')
            end++;
        erase(text, at, end < text->n ? end + 1 : end);
        from = at;
    }
}

void shell_clean_before(const struct shell *s, struct buf *text)
{
    if (text->n == 0)
        return;
    erase_nonce_lines(s, text);
    size_t from = text->n > CLEAN_BYTES ? text->n - CLEAN_BYTES : 0;
    erase_word(text, from, str_from(words_of(s)->trigger));
}

void shell_clean_after(const struct shell *s, struct buf *text)
{
    if (text->n)
        erase_nonce_lines(s, text);
}

/* --- looking at it ---------------------------------------------------------------------------------- */

bool shell_in_foreground(const struct shell *s)
{
    pid_t group = 0;
    return ioctl(s->master, TIOCGPGRP, &group) == 0 && group == s->pid;
}

bool shell_is_gone(const struct shell *s)
{
    pid_t group = -1; /* the terminal has none when its session's leader has ended */
    return ioctl(s->master, TIOCGPGRP, &group) == 0 && group == 0;
}

static bool shell_is_asleep(const struct shell *s)
{
    char path[64], line[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->pid);
    autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, line, sizeof(line)) : -1;
    ssize_t name = n > 0 ? str_rfind_char(str_make(line, (size_t)n), ')') : -1;
    return name >= 0 && name + 2 < n && line[name + 2] == 'S';
}

bool shell_waits_for_line(const struct shell *s)
{
    int typed = 0;
    return shell_in_foreground(s) && ioctl(s->slave, FIONREAD, &typed) == 0 && typed == 0 &&
           shell_is_asleep(s);
}

bool shell_line_too_long(const struct shell *s, struct str text)
{
    struct termios t = {0};
    if (tcgetattr(s->slave, &t) < 0 || !(t.c_lflag & ICANON))
        return false;
    struct str line;
    while (str_split(&text, '\n', &line))
        if (line.n > LINE_MAX_CANONICAL - 1)
            return true;
    return false;
}

bool shell_write_sync(const struct shell *s)
{
    char mark[128];
    int n = snprintf(mark, sizeof(mark), "\033]" VT_MARK ";%s;%c%s\a", s->nonce, MARK_SYNC, s->nonce);
    return write(s->slave, mark, (size_t)n) == n;
}

void shell_signal(const struct shell *s, int signal)
{
    pid_t group = 0;
    if (ioctl(s->master, TIOCSIG, signal) < 0 && ioctl(s->master, TIOCGPGRP, &group) == 0 && group > 1)
        kill(-group, signal);
}

bool shell_end_parse(struct shell *s, struct str body, struct shell_end *end)
{
    struct str code, pid, flags;
    int64_t number;
    *end = (struct shell_end){-1, -1, STR_NONE, STR_NONE};
    if (!str_split(&body, ';', &code) || !str_to_i64(code, &number) || number < 0 || number > 255 ||
        !str_split(&body, ';', &pid) || !str_split(&body, ';', &flags))
        return false;
    snprintf(s->trace, sizeof(s->trace), "%s%s", str_find_char(flags, 'x') >= 0 ? "x" : "",
             str_find_char(flags, 'v') >= 0 ? "v" : "");
    end->exit_code = (int)number;
    if (!str_to_i64(pid, &end->pid) || end->pid <= 0)
        end->pid = -1;
    char between[VT_NONCE + 3];
    snprintf(between, sizeof(between), "\037%s\037", s->nonce);
    ssize_t at = str_find(body, str_from(between));
    if (at < 0)
        return true;
    end->cwd = str_sub(body, 0, (size_t)at);
    end->path = str_sub(body, (size_t)at + VT_NONCE + 2, body.n);
    return true;
}
