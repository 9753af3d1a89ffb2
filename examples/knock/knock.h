// The socket options of the Knock patch. On a stock kernel libknockify.so, preloaded or linked, answers them.
#ifndef KNOCK_H
#define KNOCK_H

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TCP_STEALTH 26               // the secret, up to 64 bytes
#define TCP_STEALTH_INTEGRITY 27     // client: the bytes that the first segment will begin with
#define TCP_STEALTH_INTEGRITY_LEN 28 // server: how many bytes of the first segment to check

static inline struct addrinfo *numeric_address(const char *address, const char *port)
{
    struct addrinfo wanted = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
    int failed = getaddrinfo(address, port, &wanted, &found);
    if (failed) {
        fprintf(stderr, "%s port %s: %s\n", address, port, gai_strerror(failed));
        exit(2);
    }
    return found;
}

// A TCP socket that has the secret: what it connects to or listens for is stealthy from here on.
static inline int stealth_socket(const struct addrinfo *where, const char *secret)
{
    int fd = socket(where->ai_family, SOCK_STREAM, IPPROTO_TCP);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_STEALTH, secret, (socklen_t)strlen(secret)) < 0) {
        perror("TCP_STEALTH");
        exit(1);
    }
    return fd;
}

#endif
