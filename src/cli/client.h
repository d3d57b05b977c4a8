/* client: what `run` needs to talk to a server: requests that wait for their answer, and a WebSocket read frame by frame.
 * One thread at a time. The server is one of this user on this machine: no TLS, no redirects. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define CLIENT_ANSWER_MAX (64 * 1024 * 1024)
#define CLIENT_TIMEOUT_MS 60000 /* of one request */
#define CLIENT_STOP_MS 1000     /* that a user who wants to leave waits for a server's answer */

struct client;

struct client *client_new(struct str base_url /* http://HOST:PORT */, struct str key /* or STR_NONE */);
void client_free(struct client *c);
/* A request is given up (ERR_CANCELLED) when a signal that ends things (INT, TERM, HUP; blocked) becomes pending, which
 * makes `signals` readable, and there is no answer soon. */
void client_heed(struct client *c, int signals);
/* `body` STR_NONE: none. True with any HTTP status; false when there was no answer. `answer` is emptied first. */
bool client_request(struct client *c, const char *method, const char *path, struct str body, int *status,
                    struct buf *answer, struct err **e);
/* The same, where a status other than 2xx is an error that carries the server's words. */
bool client_call(struct client *c, const char *method, const char *path, struct str body, struct buf *answer,
                 struct err **e);

struct client_socket;

enum client_frame { FRAME_TEXT, FRAME_WAKE, FRAME_CLOSED };
struct client_socket *client_socket_open(struct client *c, const char *path, struct err **e);
void client_socket_free(struct client_socket *s);
/* Waits for a message, or until `wake_fd` (-1: none) is readable. */
enum client_frame client_socket_read(struct client_socket *s, int wake_fd, struct buf *text, struct err **e);
