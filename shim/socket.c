#define _GNU_SOURCE
#include "socket.h"

#include "generated/originals.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int socket_option(int fd, int level, int option, int otherwise)
{
    int error = errno, value = otherwise;
    socklen_t size = sizeof(value);
    if (original_getsockopt(fd, level, option, &value, &size) < 0)
        value = otherwise;
    errno = error;
    return value;
}

uint64_t socket_cookie(int fd)
{
    int error = errno;
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    if (original_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0)
        cookie = 0;
    errno = error;
    return cookie;
}

bool socket_nonblocking(int fd)
{
    int error = errno;
    int flags = original_fcntl(fd, F_GETFL, 0);
    errno = error;
    return flags >= 0 && (flags & O_NONBLOCK);
}

// All zero where the descriptor is no TCP socket.
static struct tcp_info info_of(int fd)
{
    int error = errno;
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (original_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        info = (struct tcp_info){0};
    errno = error;
    return info;
}

enum tcp_state socket_state(int fd)
{
    return info_of(fd).tcpi_state;
}

enum tcp_state socket_tcp_state(int fd)
{
    int protocol = socket_option(fd, SOL_SOCKET, SO_PROTOCOL, -1);
    return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP ? socket_state(fd) : STATE_UNKNOWN; // of a raw socket, too
}

bool socket_is_tcp(int fd)
{
    return socket_tcp_state(fd) != STATE_UNKNOWN;
}

// TCP takes a drop on its own machine for congestion.
bool socket_sent_freely(int fd)
{
    struct tcp_info info = info_of(fd);
    return (info.tcpi_state == STATE_SYN_SENT || info.tcpi_state == STATE_ESTABLISHED) && info.tcpi_ca_state == TCP_CA_Open;
}

uint32_t socket_backlog(int fd)
{
    return info_of(fd).tcpi_sacked; // in LISTEN state
}

static void replace(int fd)
{
    int domain = socket_option(fd, SOL_SOCKET, SO_DOMAIN, AF_INET);
    int cloexec = original_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC ? O_CLOEXEC : 0;
    int fresh = original_socket(domain, SOCK_STREAM | SOCK_CLOEXEC | (socket_nonblocking(fd) ? SOCK_NONBLOCK : 0), 0);
    if (fresh < 0)
        return;
    original_dup3(fresh, fd, cloexec);
    original_close(fresh);
}

void socket_abandon(int fd)
{
    int error = errno, off = 0;
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    if (socket_option(fd, IPPROTO_TCP, TCP_REPAIR, 0) != 0) {
        replace(fd);
    } else {
        original_connect(fd, &nowhere, sizeof(nowhere));
        original_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &off, sizeof(off));
        original_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &off, sizeof(off));
        socket_option(fd, SOL_SOCKET, SO_ERROR, 0); // undoing a deferred connect leaves ECONNRESET there
    }
    errno = error;
}
