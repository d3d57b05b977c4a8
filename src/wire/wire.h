/* wire: the frames between the mind (workspace/) and a hand (hand/), version 1. Encoder and decoder are this one module;
 * both ends read the other's bytes like a stranger's. No I/O here.
 *
 * A frame is: u32 length of what follows (at most WIRE_FRAME_MAX) | u8 type | u8 flags | u16 zero | u32 call | payload.
 * All numbers are little-endian. Call 0 is the stream itself (hello, ping, token).
 *
 *   HELLO    both ways, first: fields below. Up to WIRE_BANNER_MAX bytes before WIRE_MAGIC are skipped (ssh banners).
 *            The magic precedes the first frame and is no frame.
 *   CALL     mind → hand: fields; several frames with WIRE_MORE are one message of at most WIRE_MESSAGE_MAX.
 *   RESULT   hand → mind: fields, likewise; ends the call. Never needs credit.
 *   DATA     both ways: raw bytes of one of the call's streams (flags = stream number). Needs credit.
 *   END      both ways: no more DATA on that stream (flags = stream number).
 *   CREDIT   both ways: u32 more bytes of DATA may be sent for this call and stream (flags = stream number).
 *            A sender without credit stops reading its source.
 *   CANCEL   mind → hand: end the call and everything it started; a RESULT still follows, within 1 s.
 *   NOTE     hand → mind: fields that belong to no stream (a spawn's pid); may be ignored. Of call 0: the hand has
 *            had no call for F_TIMEOUT_MS of the HELLO and holds nothing but shells; the mind may close the stream.
 *   PING, PONG  either way, call 0; the mind pings every WIRE_PING_S.
 *
 * The fields of the mind's HELLO: versions, F_HAND_ID, F_TOKEN, F_ENV for everything the hand starts, F_TIMEOUT_MS (see
 * NOTE), F_SOFT_TIMEOUT_MS (a remote hand's linger: it ends when it hears nothing that long). The hand's: versions and
 * F_PID. HELLO and NOTE are one frame each.
 *
 * A field is u16 tag | u32 length | bytes; unknown tags are skipped, a repeated tag is a list. Integers are 8 bytes. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define WIRE_MAGIC "\x89handsd-hand\r\n\x1a\n" /* 16 bytes; cannot occur in text */
#define WIRE_MAGIC_LEN 16
#define WIRE_BANNER_MAX (64 * 1024)
#define WIRE_FRAME_MAX (64 * 1024)
#define WIRE_HEADER 12                        /* length, type, flags, zero, call */
#define WIRE_PAYLOAD_MAX (WIRE_FRAME_MAX - 8) /* what follows the length is at most WIRE_FRAME_MAX */
#define WIRE_MESSAGE_MAX (16 * 1024 * 1024)   /* a CALL's or RESULT's fields */
#define WIRE_CREDIT_INITIAL (256 * 1024)      /* bytes a sender may send per stream before the first CREDIT */
#define WIRE_VERSION_MIN 1
#define WIRE_VERSION_MAX 1
#define WIRE_PING_S 10
#define WIRE_CALLS_MAX 1024 /* calls open at once on one hand; more are refused */

enum wire_type {
    WIRE_HELLO = 1,
    WIRE_CALL,
    WIRE_RESULT,
    WIRE_DATA,
    WIRE_END,
    WIRE_CREDIT,
    WIRE_CANCEL,
    WIRE_NOTE,
    WIRE_PING,
    WIRE_PONG,
};
#define WIRE_MORE 0x80 /* flag of CALL and RESULT: more frames of the same message follow */

/* Streams of a call. */
enum wire_stream { WIRE_STDIN = 0, WIRE_STDOUT = 1, WIRE_STDERR = 2 };

/* What a call asks for (field F_OP). Paths of the file operations are F_PATH, relative to F_CWD or, when given, beneath
 * F_ROOT; the mind adds its hand's working directory as F_CWD where the caller gives none. Every RESULT has F_STATUS;
 * one that is not WIRE_OK has F_MESSAGE.
 *   SPAWN       F_COMMAND (under /bin/sh -c) or F_ARG…, F_CWD, F_ENV…, F_INPUT 0: no stdin, F_TIMEOUT_MS. NOTE: F_PID.
 *               RESULT: F_EXIT_CODE; past its timeout WIRE_TIMEOUT and -1. What stays in the background lives on.
 *   FILE_READ   F_OFFSET, F_LIMIT. NOTE before the data: F_KIND, F_SIZE, F_MODE, F_MTIME_US. RESULT: F_TRUNCATED 1 if
 *               more than F_LIMIT bytes were there.
 *   FILE_WRITE  F_MODE of a new file, F_LIMIT: most bytes. Makes missing directories; a link's target is written, below
 *               F_ROOT only. RESULT: F_SIZE.
 *   FILE_STAT   RESULT: F_KIND, F_SIZE, F_MODE, F_MTIME_US of what the path leads to.
 *   DIR_LIST    F_LIMIT. RESULT: F_ITEM…, each itself fields: F_NAME and those of FILE_STAT (links not followed), by
 *               name; F_TRUNCATED. F_FOLLOW: links are what they lead to below F_ROOT, and those to nothing are left out;
 *               F_IGNORE: so is what the .gitignore of F_ROOT ignores.
 *   DIR_MAKE    F_MODE, F_PRIVATE. Makes missing parents; one that exists is fine.
 *   GLOB        F_PATH (may be absent), F_PATTERN, F_LIMIT. RESULT: F_PATH (resolved), F_ITEM… paths, newest first;
 *               F_TRUNCATED: there are more; F_MESSAGE why the search ended early. A bad pattern is WIRE_INVALID.
 *   GREP        F_PATH, F_PATTERN, F_INCLUDE, F_LIMIT. RESULT as of GLOB; F_ELIDED files not searched to their end.
 *   PATCH       F_TEXT, the patch; F_ROOT. All or nothing. RESULT: F_SIZE the fuzz, F_ITEM…, each fields: F_PATH, F_KIND
 *               'a', 'd' or 'u', F_NAME where it moved, F_OLD, F_NEW (left out when long); or F_IS_ERROR and F_TEXT.
 *   GIT_CHANGES F_PATH, a directory, and F_REF to compare with, or F_COMMIT, or F_ORIGIN: what origin has, else nothing.
 *               RESULT: F_ITEM… by path, each fields: F_PATH, relative to it, F_KIND 'A', 'D', 'U' or, with F_ORIGIN,
 *               'C': its versions wait for a merge. Not in a repository: WIRE_NOT_FOUND; git refused: WIRE_INVALID.
 *   GIT_DIFF    F_PATH, a file, and likewise; F_ROOT. RESULT: F_OLD, F_NEW; errors as of GIT_CHANGES. F_ABSENT: a side that
 *               has no such file is left out; otherwise there has to be one.
 *   GIT_LOG     F_PATH, F_LIMIT. RESULT: F_ITEM…, newest first, each fields: F_COMMIT, F_SHORT, F_USER the author, F_TIME,
 *               F_TEXT the subject; F_TRUNCATED. Errors as of GIT_CHANGES. F_TIMEOUT_MS, of all three: of one command.
 *   ARCHIVE     F_PATH, a directory, F_LIMIT entries. DATA: a zip of what is below it; what could not be read is named in
 *               its comment. It ends early, with another status than WIRE_OK, rather than lack what a bound cuts off.
 *   SKILLS      F_PATH, a directory (~: the home), F_UPWARD, F_NAME… files in it (in any case of letters), F_INCLUDE…
 *               directories of skills below it, F_LIMIT bytes of a file. RESULT: F_ITEM…, each fields: F_PATH, F_NAME, F_KIND
 *               'g' such a file, 's' a SKILL.md, 'm' other markdown, F_TEXT or, if it cannot be read, F_MESSAGE; F_TRUNCATED.
 *   PREPARE     F_CWD, F_GIT_INIT. RESULT: F_CWD (links resolved), F_USER, F_HOST, F_PYTHON, F_PID of the hand. */
enum wire_op {
    OP_TERMINAL = 1, /* run or continue in a named terminal */
    OP_TERMINAL_CLOSE,
    OP_TERMINAL_INTERRUPT, /* Ctrl-C to what runs in a named terminal; its OP_TERMINAL call then ends by itself */
    OP_SPAWN,              /* a process with piped streams: DATA both ways, RESULT with the exit code */
    OP_EDIT,               /* the file editor's five commands */
    OP_FILE_READ,          /* regular file: DATA on stream 1 */
    OP_FILE_WRITE,         /* DATA on stream 0 until END; temporary file and rename */
    OP_FILE_STAT,
    OP_DIR_MAKE,
    OP_DIR_LIST,
    OP_GLOB,
    OP_GREP,
    OP_GIT_CHANGES,
    OP_GIT_DIFF,
    OP_ARCHIVE,
    OP_PREPARE, /* makes the working directory, `git init` unless inside a repository; answers facts about it */
    OP_PATCH,   /* a patch in the format that models were trained on */
    OP_GIT_LOG,
    OP_SKILLS,          /* files that tell an agent how to work in a place */
    OP_TERMINAL_OUTPUT, /* all of the output whose middle the named terminal's last call left out: DATA */
};

/* Tags of fields. One list for all operations; numbers are never reused. */
enum wire_field {
    F_OP = 1,
    F_KEY, /* idempotency key (the action's id): a repeated key returns the first result and runs nothing */
    F_VERSION_MIN,
    F_VERSION_MAX,
    F_HAND_ID,
    F_TOKEN, /* owner token: a hand refuses calls older than the newest it has seen */
    F_NAME,  /* of a terminal, process or undo history, chosen by the caller */
    F_PATH,
    F_CWD,
    F_ROOT, /* paths must stay beneath it */
    F_COMMAND,
    F_ARG,        /* repeated: argv */
    F_ENV,        /* repeated: NAME=value, on top of the hand's allow-list */
    F_INPUT,      /* int 0/1: is_input */
    F_RESET,      /* int 0/1 */
    F_TIMEOUT_MS, /* int; hard timeout, absent: none (terminal: only the soft one) */
    F_SOFT_TIMEOUT_MS,
    F_LIMIT, /* int: most bytes or items to answer */
    F_OFFSET,
    F_TEXT, /* file_text; result: text for the model, or output (head) */
    F_TAIL, /* result: output after the part that was left out */
    F_ELIDED, /* int: bytes left out between F_TEXT and F_TAIL; with F_SIZE TERMINAL_OUTPUT has all, so many bytes */
    F_OLD,
    F_NEW,
    F_LINE, /* int: insert_line (EDIT takes a view_range as F_OFFSET and F_LIMIT, and its output cap as F_SIZE) */
    F_MODE,
    F_SIZE,
    F_MTIME_US,
    F_KIND,      /* result: 'f' file, 'd' directory, 'l' link, 'o' other */
    F_STATUS,    /* int, per operation: enum wire_status, wire_terminal, … */
    F_MESSAGE,   /* why it failed, for a person */
    F_EXIT_CODE, /* int; -1 unknown; negative: killed by that signal */
    F_PID,
    F_USER,
    F_HOST,
    F_PYTHON,     /* path of the Python interpreter the shell would start */
    F_IS_ERROR,   /* int 0/1: a tool error, with the text in F_TEXT */
    F_PREV_EXIST, /* int 0/1 */
    F_IMAGE_TYPE, /* media type of an image; its bytes are DATA on stream 1 */
    F_PATTERN,
    F_INCLUDE,
    F_REF,
    F_TRUNCATED,
    F_ITEM,      /* repeated: one result (path, change) */
    F_FRESH,     /* int 1: the shell of this terminal was started by this very call */
    F_CONTINUED, /* int 1: output before this call's was already shown for the same command */
    F_COLUMNS,
    F_ROWS,
    F_GIT_INIT,    /* int 0/1 */
    F_CALL_MAX_MS, /* int; a terminal call ends after this as by F_TIMEOUT_MS, also with F_SOFT_TIMEOUT_MS */
    F_PRIVATE, /* int 0/1, of DIR_MAKE: refused unless it is the caller's own directory that no other may write */
    F_COMMIT, /* a commit's name, hexadecimal */
    F_SHORT,  /* the same, as short as it is unique */
    F_TIME,   /* ISO 8601 */
    F_UPWARD, /* int 0/1, of SKILLS: also at the root of the repository around it */
    F_FOLLOW, /* int 0/1 */
    F_IGNORE, /* int 0/1 */
    F_ORIGIN, /* int 0/1 */
    F_ABSENT, /* int 0/1 */
};

/* F_STATUS of every RESULT. */
enum wire_status {
    WIRE_OK = 0,
    WIRE_INVALID, /* the call itself is wrong */
    WIRE_NOT_FOUND,
    WIRE_REFUSED, /* path escapes, not a regular file, older owner token */
    WIRE_TOO_LARGE,
    WIRE_BUSY, /* a bound of the hand is reached */
    WIRE_IO,   /* errno text in F_MESSAGE */
    WIRE_TIMEOUT,
    WIRE_CANCELLED,
    WIRE_UNSUPPORTED, /* unknown operation */
    WIRE_IS_DIR,
    WIRE_NOT_DIR,
    WIRE_EXISTS,
    WIRE_STATUSES, /* a number that is none of these: hands are strangers */
};

/* F_KIND of an OP_TERMINAL result: how the call ended. Facts only; the mind words them. */
enum wire_terminal {
    TERMINAL_COMPLETED = 1,   /* F_EXIT_CODE is the command's */
    TERMINAL_SOFT_TIMEOUT,    /* no new output for F_SOFT_TIMEOUT_MS; the command goes on */
    TERMINAL_HARD_TIMEOUT,    /* F_TIMEOUT_MS passed; the command goes on */
    TERMINAL_NOTHING_RUNNING, /* input or empty command, but no command is running */
    TERMINAL_OCCUPIED,    /* another command is still running; nothing was sent; F_TEXT is its new output */
    TERMINAL_SHELL_ENDED, /* the shell itself ended (exit, exec, kill); the next call starts a new one */
    TERMINAL_RESET,       /* reset without a command */
    TERMINAL_INPUT_SENT,  /* like COMPLETED/…_TIMEOUT is used instead once the reaction is known */
};

/* Building. A message is a buf of fields. Texts may be of any length: a message that they make too large is refused as
 * a whole by wire_add_message. */
void wire_add_str(struct buf *fields, enum wire_field tag, struct str value);
void wire_add_int(struct buf *fields, enum wire_field tag, int64_t value);
/* Adds frames for `fields` (split as needed) with the 12-byte headers. False, and nothing is added, when they are more
 * than WIRE_MESSAGE_MAX (of CALL and RESULT) or one frame (of the others). */
bool wire_add_message(struct buf *out, enum wire_type type, uint32_t call, struct str fields);
/* At most WIRE_PAYLOAD_MAX bytes. */
void wire_add_data(struct buf *out, uint32_t call, enum wire_stream stream, struct str data);
void wire_add_end(struct buf *out, uint32_t call, enum wire_stream stream);
void wire_add_credit(struct buf *out, uint32_t call, enum wire_stream stream, uint32_t bytes);
void wire_add_control(struct buf *out, enum wire_type type, uint32_t call); /* CANCEL, PING, PONG */

/* Reading frames out of a byte stream. */
struct wire_frame {
    enum wire_type type;
    unsigned flags;
    uint32_t call;
    struct str payload; /* borrowed from the input */
};
struct wire_reader {
    struct buf in;   /* bytes not yet consumed; at most WIRE_BANNER_MAX + one frame */
    size_t skipped;  /* banner bytes before the magic */
    bool synced;     /* the magic was seen */
    size_t consumed; /* bytes of `in` that returned frames have used up */
};
/* The number of a CREDIT frame that wire_reader_next returned. */
uint32_t wire_credit_bytes(const struct wire_frame *frame);
void wire_reader_deinit(struct wire_reader *r);
void wire_reader_feed(struct wire_reader *r, struct str data);
/* Next frame, borrowed until the next feed. False without error: more bytes are needed. */
bool wire_reader_next(struct wire_reader *r, struct wire_frame *frame, struct err **e);

/* Reading fields. */
struct wire_fields {
    struct str rest;
};
/* Next field; false at the end. A truncated field is an error. */
bool wire_fields_next(struct wire_fields *f, enum wire_field *tag, struct str *value, struct err **e);
bool wire_fields_valid(struct str fields);                       /* every length fits */
struct str wire_get_str(struct str fields, enum wire_field tag); /* first such field, or STR_NONE */
/* `otherwise` also when it is not 8 bytes long. */
int64_t wire_get_int(struct str fields, enum wire_field tag, int64_t otherwise);
enum wire_status wire_get_status(struct str fields); /* of a RESULT; WIRE_STATUSES without one */
bool wire_has(struct str fields, enum wire_field tag);
