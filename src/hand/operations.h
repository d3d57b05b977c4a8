/* operations: the functions that begin a call, one per row of the table in main.c. Each is called once with a fresh
 * call whose `fields` are well-formed (every length fits; nothing more is known about them) and must lead, at once or
 * later, to exactly one call_done or call_fail. */
#pragma once
#include "hand/call.h"

/* terminal.c */
void terminal_start(struct call *c);           /* OP_TERMINAL */
void terminal_close_start(struct call *c);     /* OP_TERMINAL_CLOSE */
void terminal_interrupt_start(struct call *c); /* OP_TERMINAL_INTERRUPT */
void terminal_output_start(struct call *c);    /* OP_TERMINAL_OUTPUT */

/* edit.c */
void edit_start(struct call *c); /* OP_EDIT */

/* spawn.c */
void spawn_start(struct call *c); /* OP_SPAWN */

/* prepare.c */
void prepare_start(struct call *c); /* OP_PREPARE */

/* search.c */
void glob_start(struct call *c); /* OP_GLOB */
void grep_start(struct call *c); /* OP_GREP */

/* patch.c */
void patch_start(struct call *c); /* OP_PATCH */

/* files.c */
void file_read_start(struct call *c);  /* OP_FILE_READ */
void file_write_start(struct call *c); /* OP_FILE_WRITE */
void file_stat_start(struct call *c);  /* OP_FILE_STAT */
void dir_make_start(struct call *c);   /* OP_DIR_MAKE */

/* list.c */
void dir_list_start(struct call *c); /* OP_DIR_LIST */

/* git_run.c */
void git_changes_start(struct call *c); /* OP_GIT_CHANGES */
void git_diff_start(struct call *c);    /* OP_GIT_DIFF */
void git_log_start(struct call *c);     /* OP_GIT_LOG */

/* skills.c */
void skills_start(struct call *c); /* OP_SKILLS */

/* archive.c */
void archive_start(struct call *c); /* OP_ARCHIVE */

struct stat;
void file_stat_add(struct buf *fields, const struct stat *st); /* F_KIND, F_SIZE, F_MODE, F_MTIME_US */
/* Not an operation of its own: sends a file, which it takes, from its beginning as the call's DATA. */
void file_send(struct call *c, int fd);
