/* WebSocket clients on one epoll: what the load generator's commands act on. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_GROUPS = 8, MAX_SOCKETS = 20000 };

struct bytes {
    char *data;
    size_t length;
};

/* Sockets that behave alike. In `head`, {token} stands for the next line of the tokens; in `hello`,
 * ##### for the socket's number, so that it has the same length for all. */
struct group {
    int port;
    struct bytes head, hello, ready, refused, ping, pong, reply;
    int ready_times;   /* how often `ready` is seen before a socket counts as open */
    int binary;        /* messages are sent in binary frames */
    char **tokens;
    int token_count;
    struct client **clients;
    int size, opened, failed, lost;
};

enum state { CONNECTING, ANSWERING, GREETED, OPEN, GONE };

struct client {
    int fd;
    uint8_t state, seen;
    uint16_t group;
    uint32_t number;
    struct bytes unread, unsent;
};

struct totals {
    uint64_t deliveries, replies, pings, received, last_status;
};

extern struct group groups[MAX_GROUPS];
extern struct totals totals;

/* Called for each delivery with how many microseconds it took. */
extern void (*delivered)(int64_t microseconds);

void sockets_begin(void);
/* Handles what happens until `until` (monotonic microseconds), or until something has. */
void sockets_serve(int64_t until);
/* Tells the poll about one more descriptor; sockets_serve returns true once it is readable. */
void sockets_watch(int fd);
extern int watched_is_readable;

struct client *client_open(int group);
void client_close(struct client *client);
/* Sends messages joined in one call; each is the template with ##### and @... filled in. */
void client_send(struct client *client, const struct bytes *message, int times, int64_t at);

int64_t now_us(void);

#endif
