/* fake_sockets: the sockets of net/server.h without a network. What is sent is kept with its time; a slow socket counts
 * what it was given as pending until the test takes it. */
#pragma once
#include "conversation/conversation.h"

struct fake_frame {
    struct bytes *text;
    uint64_t at_ns;
};

struct server *fake_server_new(struct loop *loop);
void fake_server_free(struct server *s);
/* Not on the loop. Takes the reference; the number of the socket, 0 if the subscription was refused. */
uint64_t fake_socket_open(struct server *s, struct conversation *c, enum resend resend, int64_t since_us);
uint64_t fake_socket_open_slow(struct server *s, struct conversation *c, enum resend resend);
/* A socket of something else than a subscription; it is told, on the loop, of room and of its end. */
uint64_t fake_socket_new(struct server *s, bool slow, void (*on_room)(void *arg), void (*on_gone)(void *arg),
                         void *arg);
void fake_socket_take(struct server *s, uint64_t socket); /* the client reads all; then there is room */
void fake_socket_hang_up(struct server *s, uint64_t socket);
bool fake_socket_hang_up_if(struct server *s,
                            uint64_t socket);            /* false: there never was one of that number */
int fake_socket_code(struct server *s, uint64_t socket); /* of its close; 0: open */
size_t fake_socket_count(struct server *s, uint64_t socket);
/* Frame `i`; the text lives as long as the server. */
struct fake_frame fake_socket_frame(struct server *s, uint64_t socket, size_t i);
size_t fake_socket_pending_max(struct server *s, uint64_t socket);
