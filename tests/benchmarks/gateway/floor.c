/* The floor of the comparison: epoll, and one send() per delivery, with nothing else.
 *
 *   floor PORT
 *
 * It answers every request with 101, reads the frames of clients, and sends each message of one to
 * all others. What it leaves out a server needs; what it does none can do without.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FILES = 20000, EVENTS = 512, BUFFER = 1 << 16, BACKLOG = 4096 };

static const char ANSWER[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: -\r\n\r\n";

static unsigned char buffer[BUFFER], out[BUFFER];
static int members[MAX_FILES], place[MAX_FILES], count;
static char greeted[MAX_FILES];

static void leave(int fd) {
    if (place[fd] >= 0) {
        int last = members[--count];
        members[place[fd]] = last;
        place[last] = place[fd];
        place[fd] = -1;
    }
    greeted[fd] = 0;
    close(fd);
}

static void broadcast(int from, const unsigned char *data, size_t length) {
    size_t start = 2;
    out[0] = 0x81;
    if (length < 126) {
        out[1] = (unsigned char)length;
    } else {
        out[1] = 126;
        out[2] = (unsigned char)(length >> 8);
        out[3] = (unsigned char)length;
        start = 4;
    }
    memcpy(out + start, data, length);
    for (int i = 0; i < count; i++)
        if (members[i] != from) send(members[i], out, start + length, MSG_NOSIGNAL);
}

/* Clients of the bench write whole frames, shorter than 64 KiB and never split. */
static void frames(int fd, unsigned char *data, size_t length) {
    while (length >= 6) {
        size_t size = data[1] & 0x7f, start = 6;
        if (size == 126) {
            size = (size_t)data[2] << 8 | data[3];
            start = 8;
        }
        if (length < start + size) return;
        for (size_t i = 0; i < size; i++) data[start + i] ^= data[start - 4 + (i & 3)];
        if ((data[0] & 0x0f) == 1) broadcast(fd, data + start, size);
        data += start + size;
        length -= start + size;
    }
}

static void readable(int fd) {
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return leave(fd);
    if (greeted[fd]) return frames(fd, buffer, (size_t)got);
    greeted[fd] = 1;
    place[fd] = count;
    members[count++] = fd;
    send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL);
}

int main(int arguments, char **values) {
    if (arguments < 2) return 2;
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(values[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, BACKLOG)) {
        perror("listen");
        return 1;
    }
    for (int i = 0; i < MAX_FILES; i++) place[i] = -1;
    event.data.fd = listener;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listener) {
                readable(events[i].data.fd);
                continue;
            }
            int fd;
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MAX_FILES) {
                    close(fd);
                    continue;
                }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                event.data.fd = fd;
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
