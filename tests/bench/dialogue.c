/* Both ends of SMTP dialogues, light and fast: what costs most in a run must be the filter and not its peers.
 *
 * dialogue server PORT
 *     Takes every message. Says "ready" once it listens, IPv4 and IPv6.
 * dialogue client PORT COUNT PARALLEL SIZE HOLD SOURCES SERVER...
 *     COUNT dialogues, one message of SIZE bytes each, PARALLEL at a time, from each of SOURCES (comma-separated IPv4
 *     addresses, or "-") and to each SERVER in turn. Prints one JSON object. HOLD 1: each connection stops after its
 *     RCPT; the object is printed when all have come that far, and they stay until standard input ends.
 *
 * One command at a time, no pipelining: some 24 packets for a short message. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 20000   /* file descriptors */
#define LINE 78      /* bytes of a line of content */
#define BLOCK 65520  /* bytes written at once, a multiple of LINE */
#define CONTENT 4    /* the step at which the client sends its message */
#define END_OF_CONTENT "\r\n.\r\n"

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

struct connection {
    int used, step, held, blocked;
    long left;      /* client: bytes of content still to be sent, its end included */
    int in_content; /* server */
    size_t have;
    char text[600]; /* a reply, a command, or the last bytes of the content */
};

static struct connection connections[MOST];
static char content[BLOCK + LINE];
static int poller;

static double seconds(clockid_t clock)
{
    struct timespec at;

    clock_gettime(clock, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void watch(int fd, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    epoll_ctl(poller, operation, fd, &event);
}

static void prepare(void)
{
    struct rlimit limit = {MOST, MOST};
    size_t at;

    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    for (at = 0; at < sizeof content; at += LINE) {
        memset(content + at, 'x', LINE - 2);
        memcpy(content + at + LINE - 2, "\r\n", 2);
    }
}

/* -- the server ------------------------------------------------------------------------------------------------- */

static int say(int fd, const char *text)
{
    return send(fd, text, strlen(text), 0) < 0 ? -1 : 0;
}

static void greet(int listener)
{
    int one = 1, fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MOST) {
            close(fd);
            continue;
        }
        memset(&connections[fd], 0, sizeof connections[fd]);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
        say(fd, "220 mx.example ESMTP ready\r\n");
    }
}

/* The last five bytes tell whether the content is over. */
static int take_content(struct connection *c, const char *data, size_t size)
{
    char tail[10];
    size_t keep = c->have < 5 ? c->have : 5, from = size < 5 ? size : 5;

    memcpy(tail, c->text + c->have - keep, keep);
    memcpy(tail + keep, data + size - from, from);
    c->have = keep + from < 5 ? keep + from : 5;
    memcpy(c->text, tail + keep + from - c->have, c->have);
    return c->have == 5 && !memcmp(c->text, END_OF_CONTENT, 5);
}

/* Answers what was read; -1 where the connection is to be closed. */
static int answer(int fd, const char *data, size_t size)
{
    struct connection *c = &connections[fd];
    const char *verb = c->text;

    if (c->in_content) {
        if (!take_content(c, data, size))
            return 0;
        c->in_content = 0;
        c->have = 0;
        return say(fd, "250 2.0.0 Ok: queued as 4F2A91C3\r\n");
    }
    if (size > sizeof c->text - c->have)
        return -1;
    memcpy(c->text + c->have, data, size);
    c->have += size;
    if (c->text[c->have - 1] != '\n')
        return 0;
    c->have = 0;
    if (!strncmp(verb, "EHLO", 4))
        return say(fd, "250-mx.example\r\n250-SIZE 104857600\r\n250 8BITMIME\r\n");
    if (!strncmp(verb, "DATA", 4)) {
        c->in_content = 1;
        return say(fd, "354 End data with <CR><LF>.<CR><LF>\r\n");
    }
    if (!strncmp(verb, "QUIT", 4)) {
        say(fd, "221 2.0.0 Bye\r\n");
        return -1;
    }
    return say(fd, "250 2.1.0 Ok\r\n");
}

static int serve(int port)
{
    static char data[1 << 18];
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct epoll_event events[256];
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), off = 0, on = 1, count, i;

    setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) {
        perror("dialogue server");
        return 2;
    }
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    puts("ready");
    fflush(stdout);
    for (;;) {
        count = epoll_wait(poller, events, 256, -1);
        for (i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            ssize_t size;

            if (fd == listener) {
                greet(fd);
                continue;
            }
            size = recv(fd, data, sizeof data, 0);
            if (size < 0 && (errno == EAGAIN || errno == EINTR))
                continue;
            if (size <= 0 || answer(fd, data, (size_t)size))
                close(fd);
        }
    }
}

/* -- the client ------------------------------------------------------------------------------------------------- */

static const char *const commands[] = {
    "EHLO mail.sender.example\r\n", "MAIL FROM:<newsletter@sender.example>\r\n", "RCPT TO:<someone@mx.example>\r\n",
    "DATA\r\n", NULL, "QUIT\r\n",
};
static const char *const replies[] = {"220", "250", "250", "250", "354", "250", "221"};

static union address servers[64], sources[512];
static int server_count, source_count, port, hold;
static long size_of_message, started, done, failed, held, running;

static int parse_address(const char *text, union address *address, int port_number)
{
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &address->four.sin_addr) == 1) {
        address->four.sin_family = AF_INET;
        address->four.sin_port = htons((uint16_t)port_number);
        return 0;
    }
    address->six.sin6_family = AF_INET6;
    address->six.sin6_port = htons((uint16_t)port_number);
    return inet_pton(AF_INET6, text, &address->six.sin6_addr) == 1 ? 0 : -1;
}

static void begin(void)
{
    union address *to = &servers[started % server_count];
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

    started++;
    if (fd < 0 || fd >= MOST) {
        failed++;
        if (fd >= 0)
            close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (source_count && to->any.sa_family == AF_INET) {
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, &sources[(started - 1) % source_count].any, sizeof(struct sockaddr_in)))
            perror("dialogue client: source");
    }
    memset(&connections[fd], 0, sizeof connections[fd]);
    connections[fd].used = 1;
    if (connect(fd, &to->any, sizeof *to) && errno != EINPROGRESS) {
        failed++;
        close(fd);
        return;
    }
    running++;
    watch(fd, EPOLLIN, EPOLL_CTL_ADD);
}

static void end(int fd, int good)
{
    close(fd);
    connections[fd].used = 0;
    if (connections[fd].held) /* it had been counted, and did not stay */
        held--;
    else
        running--;
    if (good)
        done++;
    else
        failed++;
}

static int wait_for_room(int fd)
{
    connections[fd].blocked = 1;
    watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    return 0;
}

/* Sends as much content as there is room for; -1 on an error. A short message and its end leave in one segment. */
static int send_content(int fd)
{
    struct connection *c = &connections[fd];

    while (c->left > 5) {
        long sent = size_of_message - (c->left - 5);
        size_t now = (size_t)(c->left - 5 < BLOCK ? c->left - 5 : BLOCK);
        ssize_t gone = send(fd, content + sent % LINE, now, MSG_MORE);

        if (gone < 0)
            return errno == EAGAIN ? wait_for_room(fd) : -1;
        c->left -= gone;
    }
    if (send(fd, END_OF_CONTENT, 5, 0) != 5)
        return errno == EAGAIN ? wait_for_room(fd) : -1;
    c->left = 0;
    if (c->blocked)
        watch(fd, EPOLLIN, EPOLL_CTL_MOD);
    return 0;
}

/* Whether the text ends with the last line of a reply (RFC 5321 section 4.2.1). */
static int is_whole(const char *text, size_t size)
{
    size_t at = size;

    if (size < 5 || text[size - 1] != '\n')
        return 0;
    for (at = size - 1; at && text[at - 1] != '\n'; at--)
        ;
    return text[at + 3] == ' ';
}

/* Reads, and goes on once a reply is whole; 1 where the dialogue is over, -1 where it failed. */
static int step(int fd)
{
    struct connection *c = &connections[fd];
    ssize_t size = recv(fd, c->text + c->have, sizeof c->text - c->have, 0);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (size <= 0)
        return -1;
    c->have += (size_t)size;
    if (!is_whole(c->text, c->have))
        return c->have == sizeof c->text ? -1 : 0;
    c->have = 0;
    if (strncmp(c->text, replies[c->step], 3))
        return -1;
    if (c->step == 6)
        return 1;
    if (hold && c->step == 3) {
        held++;
        running--;
        c->held = 1;
        watch(fd, 0, EPOLL_CTL_MOD);
        return 0;
    }
    if (c->step == CONTENT) {
        c->step++;
        c->left = size_of_message + 5;
        return send_content(fd);
    }
    return send(fd, commands[c->step], strlen(commands[c->step]), 0) < 0 ? -1 : (c->step++, 0);
}

static int talk(int argc, char **argv)
{
    long count = atol(argv[3]), parallel = atol(argv[4]);
    struct epoll_event events[256];
    double begun = seconds(CLOCK_MONOTONIC);
    char *source;
    int i, got;

    port = atoi(argv[2]);
    size_of_message = atol(argv[5]);
    hold = atoi(argv[6]);
    for (source = strtok(argv[7], ","); source && *source != '-' && source_count < 512; source = strtok(NULL, ","))
        if (parse_address(source, &sources[source_count++], 0))
            return 2;
    for (i = 8; i < argc && server_count < 64; i++)
        if (parse_address(argv[i], &servers[server_count++], port))
            return 2;
    while (done + failed + held < count) {
        while (running < parallel && started < count)
            begin();
        got = epoll_wait(poller, events, 256, 20000);
        if (got <= 0)
            break; /* nothing moves any more */
        for (i = 0; i < got; i++) {
            int fd = events[i].data.fd, result = 0;

            if (!connections[fd].used)
                continue;
            if (events[i].events & EPOLLOUT && connections[fd].left)
                result = send_content(fd);
            if (!result && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
                result = step(fd);
            if (result)
                end(fd, result > 0);
        }
    }
    printf("{\"done\": %ld, \"held\": %ld, \"failed\": %ld, \"seconds\": %.6f, \"cpu_s\": %.6f}\n", done, held,
           count - done - held, seconds(CLOCK_MONOTONIC) - begun, seconds(CLOCK_PROCESS_CPUTIME_ID));
    fflush(stdout);
    if (hold)
        while (getchar() != EOF)
            ;
    return 0;
}

int main(int argc, char **argv)
{
    prepare();
    if (argc == 3 && !strcmp(argv[1], "server"))
        return serve(atoi(argv[2]));
    if (argc >= 9 && !strcmp(argv[1], "client"))
        return talk(argc, argv);
    fputs("usage: dialogue server PORT | client PORT COUNT PARALLEL SIZE HOLD SOURCES SERVER...\n", stderr);
    return 2;
}
