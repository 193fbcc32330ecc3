/* The load generator of `make bench`: reads commands, one a line, and answers each with a line of
 * JSON. One program for all servers: what differs between them is in the strings it is given, in
 * hexadecimal digits ("-" for none).
 *
 *   group N PORT TOKENS BINARY TIMES HEAD HELLO READY REFUSED PING PONG REPLY
 *                                       see struct group
 *   open N COUNT INFLIGHT AWAKE         more sockets, so many handshakes at the same time. Awake: it
 *                                       looks for answers without sleeping, so that the server never
 *                                       has to wake it.
 *   publish N FIRST SENDERS ROUNDS BATCH INTERVAL_US EXPECT GATED AWAKE MESSAGE
 *                                       each round one sender sends BATCH messages in one write;
 *                                       EXPECT deliveries of each message. Gated: a round waits for
 *                                       the deliveries of the one before; else it is sent when it
 *                                       is due, and its time counts from then. Awake: as above, until
 *                                       a gated round is over.
 *   churn N PER_SECOND SECONDS          closes the oldest sockets and opens as many
 *   rest MILLISECONDS                   answers pings
 *   close N                             closes all
 */
#include "sockets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BUCKETS = 64 * 64, PATIENCE_US = 5000000, LINE = 1 << 20 };

/* Microseconds; up to 127 exactly, beyond that in steps of a sixty-fourth. */
static uint64_t histogram[BUCKETS];
static int64_t longest;

static int bucket(int64_t value) {
    int shift = 0;
    while (value >> shift > 127) shift++;
    return shift * 64 + (int)(value >> shift);
}

static void count_delivery(int64_t microseconds) {
    if (microseconds < 0) microseconds = 0;
    if (microseconds > longest) longest = microseconds;
    histogram[bucket(microseconds)]++;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct bytes unhex(const char *text) {
    struct bytes out = {NULL, 0};
    if (!text || !strcmp(text, "-")) return out;
    out.length = strlen(text) / 2;
    out.data = malloc(out.length + 1);
    for (size_t i = 0; i < out.length; i++) {
        unsigned byte = 0;
        sscanf(text + 2 * i, "%2x", &byte);
        out.data[i] = (char)byte;
    }
    return out;
}

static char *word(void) { return strtok(NULL, " \n"); }

static int64_t number(void) {
    const char *text = word();
    return text ? strtoll(text, NULL, 10) : 0;
}

static void read_tokens(struct group *group, const char *path) {
    char line[4096];
    FILE *file = strcmp(path, "-") ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        size_t size = sizeof *group->tokens * (size_t)(group->token_count + 1);
        group->tokens = realloc(group->tokens, size);
        group->tokens[group->token_count++] = strdup(line);
    }
    if (file) fclose(file);
}

static void command_group(void) {
    struct group *group = &groups[number()];
    *group = (struct group){.port = (int)number()};
    read_tokens(group, word());
    group->binary = (int)number();
    group->ready_times = (int)number();
    group->head = unhex(word());
    group->hello = unhex(word());
    group->ready = unhex(word());
    group->refused = unhex(word());
    group->ping = unhex(word());
    group->pong = unhex(word());
    group->reply = unhex(word());
    printf("{}\n");
}

static void command_open(void) {
    int id = (int)number();
    struct group *group = &groups[id];
    int wanted = (int)number(), inflight = (int)number(), awake = (int)number(), begun = 0;
    int before = group->opened + group->failed + group->lost, done = 0, last = 0;
    int failed = group->failed + group->lost;
    double cpu = cpu_seconds();
    int64_t start = now_us(), progress = start;
    while (done < wanted && now_us() - progress < 4 * PATIENCE_US) {
        while (begun < wanted && begun - done < inflight) {
            client_open(id);
            begun++;
        }
        sockets_serve(awake ? now_us() : now_us() + 100000);
        done = group->opened + group->failed + group->lost - before;
        if (done != last) progress = now_us();
        last = done;
    }
    failed = group->failed + group->lost - failed;
    printf("{\"opened\": %d, \"failed\": %d, \"unanswered\": %d, \"seconds\": %.6f, \"cpu\": %.6f, "
           "\"last_status\": %" PRIu64 "}\n",
           done - failed, failed, wanted - done, (double)(now_us() - start) / 1e6,
           cpu_seconds() - cpu, totals.last_status);
}

static void print_histogram(void) {
    int first = 1;
    printf("\"longest_us\": %" PRId64 ", \"histogram\": {", longest);
    for (int i = 0; i < BUCKETS; i++) {
        if (!histogram[i]) continue;
        int shift = i < 128 ? 0 : i / 64 - 1;
        int64_t value = (int64_t)(i - shift * 64) << shift;
        printf("%s\"%" PRId64 "\": %" PRIu64, first ? "" : ", ", value, histogram[i]);
        first = 0;
    }
    printf("}");
}

static void command_publish(void) {
    struct group *group = &groups[number()];
    int first = (int)number(), senders = (int)number();
    int64_t rounds = number(), batch = number(), interval = number(), expect = number();
    int gated = (int)number(), awake = (int)number();
    struct bytes message = unhex(word());
    memset(histogram, 0, sizeof histogram);
    longest = 0;
    uint64_t before = totals.deliveries, replies = totals.replies, last = before;
    double cpu = cpu_seconds();
    int64_t start = now_us(), due = start, late = 0, sent = 0, progress = start, ended = start;
    uint64_t all = (uint64_t)(rounds * batch * expect);
    while (totals.deliveries - before < all && now_us() - progress < PATIENCE_US) {
        int64_t now = now_us();
        uint64_t owed = (uint64_t)(sent * batch * expect) - (totals.deliveries - before);
        while (sent < rounds && due <= now && !(gated && owed)) {
            struct client *client = group->clients[first + sent % senders];
            client_send(client, &message, (int)batch, gated ? now_us() : due);
            if (now - due > late) late = now - due;
            sent++;
            due = gated ? now + interval : due + interval;
            owed = (uint64_t)gated;
            progress = now;
        }
        /* A gated round that waits is over when the deliveries are, whenever it was due. */
        if (gated && owed) sockets_serve(awake ? now : now + 50000);
        else sockets_serve(sent < rounds ? due : now + 50000);
        if (totals.deliveries != last) progress = ended = now_us();
        last = totals.deliveries;
    }
    int64_t patience = now_us() + 200000; /* for replies that are behind the deliveries */
    while (group->reply.length && totals.replies - replies < (uint64_t)(sent * batch) &&
           now_us() < patience)
        sockets_serve(patience);
    printf("{\"sent\": %" PRId64 ", \"delivered\": %" PRIu64 ", \"replies\": %" PRIu64
           ", \"seconds\": %.6f, \"cpu\": %.6f, \"late_us\": %" PRId64 ", ",
           sent * batch, totals.deliveries - before, totals.replies - replies,
           (double)(ended - start) / 1e6, cpu_seconds() - cpu, late);
    print_histogram();
    printf("}\n");
    free(message.data);
}

static void command_churn(void) {
    int id = (int)number();
    struct group *group = &groups[id];
    int64_t rate = number(), seconds = number(), start = now_us(), done = 0;
    static int oldest[MAX_GROUPS];
    while (done < rate * seconds) {
        int64_t due = start + done * 1000000 / rate;
        if (now_us() < due) {
            sockets_serve(due);
            continue;
        }
        if (oldest[id] < group->size) client_close(group->clients[oldest[id]++]);
        client_open(id);
        done++;
    }
    printf("{\"opened\": %d, \"failed\": %d, \"lost\": %d}\n", group->opened, group->failed,
           group->lost);
}

static void command_rest(void) {
    uint64_t pings = totals.pings;
    int64_t until = now_us() + number() * 1000;
    int lost = 0;
    while (now_us() < until) sockets_serve(until);
    for (int i = 0; i < MAX_GROUPS; i++) lost += groups[i].lost;
    printf("{\"pings\": %" PRIu64 ", \"lost\": %d}\n", totals.pings - pings, lost);
}

static void command_close(void) {
    struct group *group = &groups[number()];
    for (int i = 0; i < group->size; i++) client_close(group->clients[i]);
    for (int i = 0; i < group->size; i++) free(group->clients[i]);
    group->size = group->opened = group->failed = group->lost = 0;
    printf("{}\n");
}

static void obey(char *line) {
    const char *verb = strtok(line, " \n");
    if (!verb) return;
    if (!strcmp(verb, "group")) command_group();
    else if (!strcmp(verb, "open")) command_open();
    else if (!strcmp(verb, "publish")) command_publish();
    else if (!strcmp(verb, "churn")) command_churn();
    else if (!strcmp(verb, "rest")) command_rest();
    else if (!strcmp(verb, "close")) command_close();
    else printf("{\"error\": \"unknown command\"}\n");
    fflush(stdout);
}

int main(void) {
    static char line[LINE];
    size_t length = 0;
    delivered = count_delivery;
    sockets_begin();
    sockets_watch(STDIN_FILENO);
    for (;;) {
        sockets_serve(now_us() + 1000000);
        if (!watched_is_readable) continue;
        watched_is_readable = 0;
        ssize_t got = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
        if (got <= 0) return 0;
        length += (size_t)got;
        line[length] = 0;
        char *limit = strchr(line, '\n');
        if (!limit) continue;
        obey(line); /* the next command is sent after the answer */
        length = 0;
    }
}
