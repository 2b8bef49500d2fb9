/* A netfilter queue whose every packet is accepted: the least that any filter in userspace can do.
 *
 * Usage: accept QUEUE. Says "ready" on standard output once bound; ends with SIGTERM. Build: cc -O2, -lnetfilter_queue.
 * Written as the library's own example is: a loop of recv, nfq_handle_packet and nfq_set_verdict. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <libnetfilter_queue/libnetfilter_queue.h>

static int accept_packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data, void *unused)
{
    struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(data);

    (void)message;
    (void)unused;
    return header ? nfq_set_verdict(queue, ntohl(header->packet_id), NF_ACCEPT, 0, NULL) : 0;
}

int main(int argc, char **argv)
{
    static char buffer[1 << 16] __attribute__((aligned));
    struct nfq_handle *handle = nfq_open();
    struct nfq_q_handle *queue;
    ssize_t size;
    int room = 2 << 20; /* bytes that wait for us, as much as the Python library asks for */

    if (argc != 2 || !handle)
        return 2;
    setsockopt(nfq_fd(handle), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    queue = nfq_create_queue(handle, (uint16_t)atoi(argv[1]), accept_packet, NULL);
    if (!queue || nfq_set_mode(queue, NFQNL_COPY_PACKET, 2048) < 0) {
        perror("accept: the queue cannot be bound");
        return 2;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        size = recv(nfq_fd(handle), buffer, sizeof buffer, 0);
        if (size >= 0)
            nfq_handle_packet(handle, buffer, (int)size);
        else if (errno != ENOBUFS && errno != EINTR) /* ENOBUFS: packets were lost, the next ones were not */
            return 1;
    }
}
