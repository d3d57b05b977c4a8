#include "net/websocket.h"
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include <openssl/sha.h>

void ws_reader_init(struct ws_reader *r, size_t message_max)
{
    *r = (struct ws_reader){.message_max = message_max};
}

void ws_reader_deinit(struct ws_reader *r)
{
    buf_deinit(&r->message);
}

static void unmask(struct ws_reader *r, char *p, size_t n)
{
    size_t i = 0;
    /* Byte-wise to the start of the mask, then eight at a time. */
    for (; i < n && r->mask_at != 0; i++, r->mask_at = (r->mask_at + 1) & 3)
        p[i] ^= (char)r->mask[r->mask_at];
    uint64_t wide;
    memcpy(&wide, r->mask, 4);
    memcpy((char *)&wide + 4, r->mask, 4);
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        word ^= wide;
        memcpy(p + i, &word, 8);
    }
    for (; i < n; i++, r->mask_at = (r->mask_at + 1) & 3)
        p[i] ^= (char)r->mask[r->mask_at];
}

static void fail(struct ws_event *event, int code)
{
    *event = (struct ws_event){.kind = WS_EVENT_ERROR, .code = code};
}

static bool is_control(unsigned opcode)
{
    return opcode >= 8;
}

/* Length of the header whose first two bytes are known. */
static size_t header_size(const struct ws_reader *r)
{
    unsigned length = r->header[1] & 0x7f;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4;
}

/* The first two bytes tell whether the frame may be at all. */
static bool header_check_start(struct ws_reader *r, struct ws_event *event)
{
    unsigned opcode = r->header[0] & 0x0f, length = r->header[1] & 0x7f;
    bool fin = (r->header[0] & 0x80) != 0;
    bool ok = (r->header[0] & 0x70) == 0 && (r->header[1] & 0x80) != 0;
    if (is_control(opcode))
        ok = ok && opcode <= WS_PONG && fin && length <= WS_CONTROL_MAX;
    else
        ok = ok && opcode <= WS_BINARY && (opcode == WS_CONTINUATION) == r->fragmented;
    if (!ok)
        fail(event, WS_CODE_PROTOCOL);
    return ok;
}

static bool header_finish(struct ws_reader *r, struct ws_event *event)
{
    uint64_t length = r->header[1] & 0x7f;
    size_t bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (bytes > 0) {
        length = 0;
        for (size_t i = 0; i < bytes; i++)
            length = length << 8 | r->header[2 + i];
        /* The shortest form is a must, and the top bit is none of the length's. */
        if (length < (bytes == 2 ? 126u : 65536u) || length >> 63) {
            fail(event, WS_CODE_PROTOCOL);
            return false;
        }
    }
    memcpy(r->mask, r->header + 2 + bytes, 4);
    r->mask_at = 0;
    r->opcode = r->header[0] & 0x0f;
    r->fin = (r->header[0] & 0x80) != 0;
    r->left = length;
    r->control_n = 0;
    r->header_n = 0;
    r->in_payload = true;
    if (!is_control(r->opcode) && length > r->message_max - r->message.n) {
        fail(event, WS_CODE_TOO_LARGE);
        return false;
    }
    return true;
}

/* Takes header bytes; true when the header is complete. */
static bool header_read(struct ws_reader *r, const char *data, size_t n, size_t *used, struct ws_event *event)
{
    while (*used < n) {
        r->header[r->header_n++] = (uint8_t)data[(*used)++];
        if (r->header_n == 2 && !header_check_start(r, event))
            return false;
        if (r->header_n >= 2 && r->header_n == header_size(r))
            return header_finish(r, event);
    }
    return false;
}

/* Codes that may be on the wire (RFC 6455 7.4, and the registered ones up to 1014). */
static bool close_code_valid(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static void control_finish(struct ws_reader *r, struct ws_event *event)
{
    struct str payload = str_make(r->control, r->control_n);
    if (r->opcode != WS_CLOSE) {
        *event = (struct ws_event){.kind = r->opcode == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG,
                                   .payload = payload};
        return;
    }
    *event = (struct ws_event){.kind = WS_EVENT_CLOSE, .code = WS_CODE_NONE, .payload = STR("")};
    if (payload.n == 0)
        return;
    int code = payload.n < 2 ? 0 : (unsigned char)payload.p[0] << 8 | (unsigned char)payload.p[1];
    if (!close_code_valid(code)) {
        fail(event, WS_CODE_PROTOCOL);
        return;
    }
    event->code = code;
    event->payload = str_sub(payload, 2, payload.n);
    if (!utf8_valid(event->payload))
        fail(event, WS_CODE_INVALID);
}

/* A frame that came whole and is a message by itself needs no copy. */
static bool is_whole_message(const struct ws_reader *r, size_t here)
{
    return r->fin && !r->fragmented && r->message.n == 0 && here == r->left;
}

static void data_read(struct ws_reader *r, char *data, size_t here, struct ws_event *event)
{
    struct str piece = str_make(data, here);
    bool direct = is_whole_message(r, here);
    r->left -= here;
    bool last = r->left == 0 && r->fin;
    if (!utf8_check(&r->utf8, piece) || (last && !UTF8_CHECK_DONE(r->utf8))) {
        fail(event, WS_CODE_INVALID);
        return;
    }
    if (!direct)
        buf_add(&r->message, piece);
    if (r->left == 0) {
        r->in_payload = false;
        r->fragmented = !r->fin;
    }
    if (last) {
        r->utf8 = 0;
        *event =
            (struct ws_event){.kind = WS_EVENT_MESSAGE, .payload = direct ? piece : buf_str(&r->message)};
    }
}

size_t ws_read(struct ws_reader *r, char *data, size_t n, struct ws_event *event)
{
    size_t used = 0;
    *event = (struct ws_event){.kind = WS_EVENT_MORE};
    /* The message that was given out is over. A large one gives its memory back. */
    if (!r->in_payload && !r->fragmented && r->message.n > 0)
        buf_deinit(&r->message);
    while (event->kind == WS_EVENT_MORE) {
        if (!r->in_payload && !header_read(r, data, n, &used, event))
            break;
        size_t here = n - used < r->left ? n - used : (size_t)r->left;
        unmask(r, data + used, here);
        if (is_control(r->opcode)) {
            memcpy(r->control + r->control_n, data + used, here);
            r->control_n = (uint8_t)(r->control_n + here);
            r->left -= here;
            if (r->left == 0) {
                r->in_payload = false;
                control_finish(r, event);
            }
        } else {
            data_read(r, data + used, here, event);
        }
        used += here;
        if (r->in_payload)
            break;
    }
    return used;
}

size_t ws_header_write(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t n)
{
    size_t bytes = n < 126 ? 0 : n < 65536 ? 2 : 8;
    out[0] = (uint8_t)(0x80 | opcode);
    out[1] = (uint8_t)(bytes == 0 ? n : bytes == 2 ? 126 : 127);
    for (size_t i = 0; i < bytes; i++)
        out[2 + i] = (uint8_t)(n >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

bool ws_accept_write(struct buf *out, struct str key)
{
    static const char suffix[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    autobuf raw = {0};
    if (key.n != 24 || !base64_decode(&raw, key) || raw.n != 16)
        return false;
    char text[24 + sizeof(suffix) - 1];
    memcpy(text, key.p, 24);
    memcpy(text + 24, suffix, sizeof(suffix) - 1);
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1((const unsigned char *)text, sizeof(text), digest);
    base64_encode(out, str_make(digest, sizeof(digest)));
    return true;
}
