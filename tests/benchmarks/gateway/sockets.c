#define _GNU_SOURCE
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { ADDRESSES = 200, EVENTS = 512, BUFFER = 1 << 20, STAMP = 16 };

/* Makes every moment a number of 16 digits, which JavaScript and JSON carry exactly. */
static const int64_t EPOCH = 1000000000000000;
static const unsigned char MASK[4] = {0x37, 0xfa, 0x21, 0x3d};
static const char STAMPS[] = "@@@@@@@@@@@@@@@@";
static const char NUMBERS[] = "#####";

struct group groups[MAX_GROUPS];
struct totals totals;
void (*delivered)(int64_t microseconds);
int watched_is_readable;

static int poller, watched = -1, sources;
static char buffer[BUFFER];

int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void poll_for(struct client *client, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(poller, operation, client->fd, &event) < 0) die("epoll_ctl");
}

void sockets_begin(void) {
    poller = epoll_create1(0);
    if (poller < 0) die("epoll_create1");
}

void sockets_watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    watched = fd;
    /* A file cannot be polled, and is always readable. */
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) watched_is_readable = 1;
}

struct client *client_open(int number) {
    struct group *group = &groups[number];
    struct client *client = calloc(1, sizeof *client);
    client->group = (uint16_t)number;
    client->number = (uint32_t)group->size;
    group->clients = realloc(group->clients, sizeof *group->clients * (size_t)(group->size + 1));
    group->clients[group->size++] = client;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) die("socket");
    int on = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    /* Of many addresses: servers limit what comes from one, and one has 28,000 ports. */
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f010001u + (uint32_t)(sources++ % ADDRESSES));
    if (bind(client->fd, (struct sockaddr *)&source, sizeof source) < 0) die("bind");
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)group->port)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(client->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
        die("connect");
    poll_for(client, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
    return client;
}

static void end(struct client *client) {
    if (client->state == GONE) return;
    close(client->fd);
    client->state = GONE;
    free(client->unread.data);
    free(client->unsent.data);
    client->unread = client->unsent = (struct bytes){NULL, 0};
}

static void lose(struct client *client) {
    if (client->state == GONE) return;
    if (client->state == OPEN) groups[client->group].lost++;
    else groups[client->group].failed++;
    end(client);
}

void client_close(struct client *client) {
    if (client->state == OPEN) groups[client->group].opened--;
    end(client);
}

static void keep(struct bytes *kept, const char *data, size_t length) {
    kept->data = realloc(kept->data, kept->length + length);
    memcpy(kept->data + kept->length, data, length);
    kept->length += length;
}

static void put(struct client *client, const char *data, size_t length) {
    if (client->state == GONE) return;
    ssize_t sent = 0;
    if (!client->unsent.length) {
        sent = send(client->fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return lose(client);
        if (sent < 0) sent = 0;
        if ((size_t)sent < length) poll_for(client, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    if ((size_t)sent < length) keep(&client->unsent, data + sent, length - (size_t)sent);
}

static char *fill(char *text, size_t length, const char *what, const char *with) {
    size_t size = strlen(what);
    for (char *found = text; (found = memmem(found, length - (size_t)(found - text), what, size));)
        memcpy(found, with, size);
    return text;
}

static size_t frame(char *out, int opcode, const char *data, size_t length) {
    size_t at = 2;
    out[0] = (char)(0x80 | opcode);
    if (length < 126) {
        out[1] = (char)(0x80 | length);
    } else {
        out[1] = (char)(0x80 | 126);
        out[2] = (char)(length >> 8);
        out[3] = (char)length;
        at = 4;
    }
    memcpy(out + at, MASK, 4);
    at += 4;
    for (size_t i = 0; i < length; i++) out[at + i] = (char)(data[i] ^ (char)MASK[i & 3]);
    return at + length;
}

void client_send(struct client *client, const struct bytes *message, int times, int64_t at) {
    if (!message->length || client->state == GONE) return;
    char *text = malloc(message->length), digits[24];
    char *out = malloc((message->length + 16) * (size_t)times);
    size_t size = 0;
    memcpy(text, message->data, message->length);
    snprintf(digits, sizeof digits, "%05u", client->number);
    fill(text, message->length, NUMBERS, digits);
    snprintf(digits, sizeof digits, "%016lld", (long long)(EPOCH + at));
    fill(text, message->length, STAMPS, digits);
    for (int i = 0; i < times; i++)
        size += frame(out + size, groups[client->group].binary ? 2 : 1, text, message->length);
    put(client, out, size);
    free(out);
    free(text);
}

static void greet(struct client *client) {
    struct group *group = &groups[client->group];
    char *head = malloc(group->head.length + 4096), *mark;
    size_t before = group->head.length, size;
    mark = memmem(group->head.data, group->head.length, "{token}", 7);
    if (mark) before = (size_t)(mark - group->head.data);
    memcpy(head, group->head.data, before);
    size = before;
    if (mark) {
        const char *token = group->tokens[client->number % (uint32_t)group->token_count];
        size_t rest = group->head.length - before - 7;
        memcpy(head + size, token, strlen(token));
        size += strlen(token);
        memcpy(head + size, mark + 7, rest);
        size += rest;
    }
    client->state = ANSWERING;
    put(client, head, size);
    free(head);
}

static void become_open(struct client *client) {
    client->state = OPEN;
    groups[client->group].opened++;
}

static int equals(const struct bytes *one, const char *data, size_t length) {
    return one->length && one->length == length && !memcmp(one->data, data, length);
}

static uint64_t count(const struct bytes *what, const char *data, size_t length) {
    uint64_t times = 0;
    const char *at = data, *limit = data + length;
    if (!what->length) return 0;
    while ((at = memmem(at, (size_t)(limit - at), what->data, what->length))) {
        times++;
        at += what->length;
    }
    return times;
}

static void receive(struct client *client, const char *data, size_t length, int64_t now) {
    static const char mark[] = "\"t\":";
    struct group *group = &groups[client->group];
    const char *at = data, *limit = data + length;
    totals.received++;
    if (equals(&group->ping, data, length)) {
        totals.pings++;
        client_send(client, &group->pong, 1, now);
        return;
    }
    while ((at = memmem(at, (size_t)(limit - at), mark, 4))) {
        at += 4;
        if (limit - at > STAMP) {
            totals.deliveries++;
            if (delivered) delivered(now + EPOCH - strtoll(at, NULL, 10));
        }
    }
    totals.replies += count(&group->reply, data, length);
    if (client->state == GREETED) {
        if (count(&group->refused, data, length)) return lose(client);
        client->seen = (uint8_t)(client->seen + count(&group->ready, data, length));
        if (client->seen >= group->ready_times) become_open(client);
    }
}

/* Returns how many bytes were taken. */
static size_t take(struct client *client, const char *data, size_t length, int64_t now) {
    size_t taken = 0;
    if (client->state == ANSWERING) {
        const char *limit = memmem(data, length, "\r\n\r\n", 4);
        if (!limit) return 0;
        if (length < 12 || memcmp(data + 9, "101", 3)) {
            totals.last_status = strtoul(data + 9, NULL, 10);
            lose(client);
            return length;
        }
        taken = (size_t)(limit - data) + 4;
        client->state = GREETED;
        client_send(client, &groups[client->group].hello, 1, now);
        if (client->state != GONE && !groups[client->group].ready_times) become_open(client);
    }
    while (client->state != GONE && length - taken >= 2) {
        const unsigned char *head = (const unsigned char *)data + taken;
        size_t size = head[1] & 0x7f, start = 2;
        if (size == 126) {
            if (length - taken < 4) break;
            size = (size_t)head[2] << 8 | head[3];
            start = 4;
        } else if (size == 127) {
            if (length - taken < 10) break;
            size = 0;
            for (int i = 2; i < 10; i++) size = size << 8 | head[i];
            start = 10;
        }
        if (length - taken < start + size) break;
        const char *payload = data + taken + start;
        taken += start + size;
        int opcode = head[0] & 0x0f;
        if (opcode == 9) {
            char out[160];
            totals.pings++;
            put(client, out, frame(out, 10, payload, size));
        } else if (opcode == 8) {
            lose(client);
        } else if (opcode < 8) {
            receive(client, payload, size, now);
        }
    }
    return taken;
}

static void readable(struct client *client) {
    size_t length = client->unread.length;
    memcpy(buffer, client->unread.data ? client->unread.data : "", length);
    ssize_t got = recv(client->fd, buffer + length, BUFFER - length, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return lose(client);
    length += (size_t)got;
    size_t taken = take(client, buffer, length, now_us());
    if (client->state == GONE) return;
    free(client->unread.data);
    client->unread = (struct bytes){NULL, 0};
    if (taken < length) keep(&client->unread, buffer + taken, length - taken);
}

static void writable(struct client *client) {
    if (client->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) return lose(client);
        poll_for(client, EPOLLIN, EPOLL_CTL_MOD);
        return greet(client);
    }
    struct bytes rest = client->unsent;
    client->unsent = (struct bytes){NULL, 0};
    poll_for(client, EPOLLIN, EPOLL_CTL_MOD);
    put(client, rest.data, rest.length);
    free(rest.data);
}

void sockets_serve(int64_t until) {
    struct epoll_event events[EVENTS];
    int64_t left = until - now_us();
    struct timespec wait = {.tv_sec = 0, .tv_nsec = 0};
    if (left > 0) {
        wait.tv_sec = left / 1000000;
        wait.tv_nsec = left % 1000000 * 1000;
    }
    int ready = epoll_pwait2(poller, events, EVENTS, &wait, NULL);
    if (ready < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < ready; i++) {
        struct client *client = events[i].data.ptr;
        if (!client) {
            watched_is_readable = 1;
            continue;
        }
        if (client->state != GONE && events[i].events & EPOLLOUT) writable(client);
        if (client->state != GONE && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            readable(client);
    }
}
