/* websocket: RFC 6455 frames, from the server's side, without sockets. The reader takes bytes in any pieces and gives
 * whole messages; nothing but the message that is being put together is kept. Extensions are declined, so every
 * reserved bit is an error. Not thread-safe. */
#pragma once
#include "base/buf.h"

#define WS_CONTROL_MAX 125 /* payload of a control frame */
#define WS_HEADER_MAX 10   /* of a frame that we send */

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* Close codes that we send ourselves. */
#define WS_CODE_AWAY 1001
#define WS_CODE_PROTOCOL 1002
#define WS_CODE_INVALID 1007 /* text that is not UTF-8 */
#define WS_CODE_TOO_LARGE 1009
#define WS_CODE_TRY_LATER 1013
#define WS_CODE_NONE 1005 /* never on the wire: a close frame without code */

enum ws_event_kind {
    WS_EVENT_MORE,    /* give more bytes */
    WS_EVENT_MESSAGE, /* payload: a whole message, valid UTF-8 */
    WS_EVENT_PING,    /* payload: to be sent back */
    WS_EVENT_PONG,
    WS_EVENT_CLOSE, /* code and payload (the reason) */
    WS_EVENT_ERROR, /* close with code; read no further */
};

struct ws_event {
    enum ws_event_kind kind;
    int code;
    struct str payload; /* valid until the next read */
};

struct ws_reader {
    size_t message_max;
    uint64_t left;      /* bytes of payload still to come in this frame */
    struct buf message; /* pieces of a message so far */
    uint32_t utf8;      /* state of the check over them */
    uint8_t mask[4];
    uint8_t mask_at;
    uint8_t header[14];
    uint8_t header_n;
    bool in_payload, fragmented, fin;
    uint8_t opcode;
    uint8_t control_n;
    char control[WS_CONTROL_MAX];
};

void ws_reader_init(struct ws_reader *r, size_t message_max);
void ws_reader_deinit(struct ws_reader *r);
/* Consumes bytes up to the next event; returns how many. The bytes are unmasked in place. */
size_t ws_read(struct ws_reader *r, char *data, size_t n, struct ws_event *event);
/* Writes the header of an unfragmented frame; returns its length. */
size_t ws_header_write(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t n);
/* Adds Sec-WebSocket-Accept's value for a key. False if the key is not 16 bytes in base64. */
bool ws_accept_write(struct buf *out, struct str key);
