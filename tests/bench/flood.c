/* SYNs from one device to ever new destinations, evenly spaced: a bot that sprays.
 *
 * Usage: flood SOURCE NETWORK RATE SECONDS. Sends RATE SYNs a second to port 25 of the addresses of NETWORK (a /16,
 * given by its first address), for SECONDS, at most 60, then prints how many. Needs CAP_NET_RAW. The addresses should be
 * silent: an answer would be reset by this host, and that is another packet. */

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

struct packet {
    struct iphdr ip;
    struct tcphdr tcp;
} __attribute__((packed));

static uint16_t sum(const void *data, size_t size, uint32_t start)
{
    const uint16_t *words = data;

    while (size > 1) {
        start += *words++;
        size -= 2;
    }
    while (start >> 16)
        start = (start & 0xffff) + (start >> 16);
    return (uint16_t)~start;
}

static int64_t now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int argc, char **argv)
{
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    int size = 4 << 20;
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct packet packet;
    uint32_t network, source, pseudo;
    int64_t begun, next, interval, end;
    long sent = 0, failed = 0, rate;
    double seconds;

    if (argc != 5 || fd < 0) {
        fputs("usage: flood SOURCE NETWORK RATE SECONDS (as root)\n", stderr);
        return 2;
    }
    source = inet_addr(argv[1]);
    network = ntohl(inet_addr(argv[2])) & 0xffff0000;
    rate = atol(argv[3]);
    seconds = atof(argv[4]);
    if (rate < 1 || rate > 200000 || seconds <= 0 || seconds > 60)
        return 2;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    prctl(PR_SET_TIMERSLACK, 1UL);
    interval = 1000000000LL / rate;
    begun = next = now();
    end = begun + (int64_t)(seconds * 1e9);
    while (next < end) {
        memset(&packet, 0, sizeof packet);
        to.sin_addr.s_addr = htonl(network | (uint32_t)(sent % 65000 + 256));
        packet.ip.version = 4;
        packet.ip.ihl = 5;
        packet.ip.tot_len = htons(sizeof packet);
        packet.ip.frag_off = htons(0x4000);
        packet.ip.ttl = 64;
        packet.ip.protocol = IPPROTO_TCP;
        packet.ip.saddr = source;
        packet.ip.daddr = to.sin_addr.s_addr;
        packet.tcp.source = htons((uint16_t)(1024 + sent % 60000));
        packet.tcp.dest = htons(25);
        packet.tcp.seq = htonl((uint32_t)sent * 7919);
        packet.tcp.doff = 5;
        packet.tcp.syn = 1;
        packet.tcp.window = htons(64240);
        pseudo = (source & 0xffff) + (source >> 16) + (packet.ip.daddr & 0xffff) + (packet.ip.daddr >> 16);
        packet.tcp.check = sum(&packet.tcp, sizeof packet.tcp, pseudo + htons(IPPROTO_TCP) + htons(sizeof packet.tcp));
        if (sendto(fd, &packet, sizeof packet, 0, (struct sockaddr *)&to, sizeof to) < 0)
            failed++;
        sent++;
        next += interval;
        if (now() - next > 20000000) /* far behind: go on from here instead of catching up in one burst */
            next = now();
        else if (interval >= 50000) {
            struct timespec at = {next / 1000000000, next % 1000000000};

            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        } else
            while (now() < next)
                ;
    }
    printf("{\"sent\": %ld, \"failed\": %ld, \"seconds\": %.3f}\n", sent, failed, (double)(now() - begun) / 1e9);
    return 0;
}
