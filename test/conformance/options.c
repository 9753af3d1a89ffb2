// What a program sets on a socket and reads back, before, between and after connect and the first data.
#include "transcript.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

// Of linux/tcp.h, which does not go together with netinet/tcp.h.
enum { FASTOPEN_CONNECT = 30, FASTOPEN_NO_COOKIE = 34, SAVE_SYN_OPTION = 27 };

static const struct {
    const char *name;
    int level, option, other;
} options[] = {
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1},
    {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1},
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1},
    {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1},
    {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3},
    {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 2},
    {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 30000},
    {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 30000},
    {"SO_MARK", SOL_SOCKET, SO_MARK, 0},
    {"SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, 0},
    {"IP_TOS", IPPROTO_IP, IP_TOS, 0x10},
    {"IP_TTL", IPPROTO_IP, IP_TTL, 33},
    {"IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT},
    {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1},
    {"TCP_CORK", IPPROTO_TCP, TCP_CORK, 1},
    {"TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, 1000},
    {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 11},
    {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 12},
    {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 3},
    {"TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, 4},
    {"TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 5},
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, 7},
    {"TCP_WINDOW_CLAMP", IPPROTO_TCP, TCP_WINDOW_CLAMP, 20000},
    {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 4000},
    {"TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16000},
    {"TCP_REPAIR", IPPROTO_TCP, TCP_REPAIR, 0},
    {"TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN, 0},
    {"TCP_FASTOPEN_CONNECT", IPPROTO_TCP, FASTOPEN_CONNECT, 0},
    {"TCP_FASTOPEN_NO_COOKIE", IPPROTO_TCP, FASTOPEN_NO_COOKIE, 0},
    {"TCP_SAVE_SYN", IPPROTO_TCP, SAVE_SYN_OPTION, 0},
};
enum { OPTIONS = sizeof(options) / sizeof(*options) };

static void say_options(const char *when, int fd)
{
    printf("%s:\n", when);
    for (int i = 0; i < OPTIONS; i++) {
        int value = 0;
        socklen_t size = sizeof(value);
        int result = getsockopt(fd, options[i].level, options[i].option, &value, &size);
        printf("  %s %d%s%s\n", options[i].name, value, result ? " " : "", result ? strerrorname_np(errno) : "");
    }
    char name[20] = "";
    socklen_t size = sizeof(name);
    getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size);
    printf("  TCP_CONGESTION %s\n", name);
}

static void set_options(int fd)
{
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].other && setsockopt(fd, options[i].level, options[i].option, &options[i].other, sizeof(int)) < 0)
            printf("  %s cannot be set: %s\n", options[i].name, strerrorname_np(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

CASE(defaults, "30 options as they are, before and after connect and with the first data")
{
    int fd = tcp(0);
    say_options("fresh", fd);
    connect_to(fd, SERVER, ECHO);
    say_options("connected", fd);
    exchange(fd);
}

CASE(set_before, "options set before connect")
{
    int fd = tcp(0);
    set_options(fd);
    say_options("fresh", fd);
    connect_to(fd, SERVER, ECHO);
    say_options("connected", fd);
    exchange(fd);
    say_options("after data", fd);
}

CASE(set_between, "options set between connect and the first write")
{
    int fd = connected_to(ECHO, 0);
    set_options(fd);
    exchange(fd);
    say_options("after data", fd);
}

CASE(set_before_refused, "options survive a refused connect")
{
    int fd = tcp(0);
    set_options(fd);
    if (connect_to(fd, SERVER, CLOSED) == 0)
        send(fd, request, REQUEST, MSG_NOSIGNAL);
    say_options("refused", fd);
}

static void say_state(int fd)
{
    static const char *const names[] = {"?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"};
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    int result = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    printf("TCP_INFO: %s%s\n", names[info.tcpi_state % 12], result ? " (fails)" : "");
}

CASE(tcp_info, "TCP_INFO, SIOCOUTQ and SIOCINQ over a connection's life")
{
    int fd = tcp(0), queued = -1;
    say_state(fd);
    connect_to(fd, SERVER, HANGUP);
    say_state(fd);
    SAY(ioctl(fd, SIOCINQ, &queued));
    SAY(ioctl(fd, SIOCOUTQ, &queued));
    printf("queued: %d\n", queued);
    put(fd, request, REQUEST);
    say_got(fd, 1);
    say_state(fd);
}

CASE(error_told_once, "SO_ERROR after a reset, and once more")
{
    int fd = connected_to(RESET, 0);
    say_error(fd);
    put(fd, request, REQUEST);
    wait_for(fd, POLLIN);
    say_error(fd);
    say_error(fd);
    say_got(fd, 1);
}

CASE(linger, "SO_LINGER with no time: close resets, and with time: close waits")
{
    struct linger at_once = {1, 0}, patient = {1, 2}, found = {0};
    socklen_t size = sizeof(found);
    int fd = connected_to(ECHO, 0);
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
    exchange(fd);
    SAY(close(fd));
    fd = connected_to(ECHO, 0);
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &patient, sizeof(patient)));
    exchange(fd);
    SAY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &found, &size));
    printf("linger: %d %d\n", found.l_onoff, found.l_linger);
    SAY(close(fd));
    fd = connected_to(ECHO, 0);
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
    SAY(close(fd));
}

CASE(receive_timeout, "SO_RCVTIMEO ends a recv that nothing comes for")
{
    struct timeval limit = {.tv_usec = 100000};
    int fd = connected_to(ECHO, 0);
    char byte;
    exchange(fd);
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
    int64_t start = now_ms();
    SAY(recv(fd, &byte, 1, 0));
    say_waited(start, 100);
}

CASE(receive_timeout_first, "SO_RCVTIMEO before anything was written")
{
    struct timeval limit = {.tv_usec = 100000};
    int fd = connected_to(ECHO, 0);
    char byte;
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
    int64_t start = now_ms();
    SAY(recv(fd, &byte, 1, 0));
    say_waited(start, 100);
    SAY(recv(fd, &byte, 1, MSG_DONTWAIT));
    exchange(fd);
}

CASE(wrong_options, "getsockopt and setsockopt as they must not be called")
{
    int fd = connected_to(ECHO, 0), value = 0;
    socklen_t size = 2, none = 0, whole = sizeof(value);
    SAY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size));
    SAY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &none));
    SAY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, NULL));
    SAY(getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, &none));
    SAY(getsockopt(fd, SOL_SOCKET, 999, &value, &whole));
    SAY(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, NULL, sizeof(value)));
    SAY(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, 1));
    SAY(getsockname(fd, NULL, &whole));
    exchange(fd);
}

CASE(wrong_getpeername, "getpeername as it must not be called")
{
    int fd = connected_to(ECHO, 0);
    struct sockaddr_in peer = {0};
    socklen_t negative = (socklen_t)-1, whole = sizeof(peer), cut = 6;
    SAY(getpeername(fd, (struct sockaddr *)&peer, &cut));
    printf("size %u\n", cut);
    SAY(getpeername(fd, NULL, &whole));
    SAY(getpeername(fd, (struct sockaddr *)&peer, NULL));
    SAY(getpeername(fd, (struct sockaddr *)&peer, &negative));
    exchange(fd);
}

CASE(port_range, "IP_LOCAL_PORT_RANGE of the program's own: the port is in it, and the option stays")
{
    enum { PORT_RANGE = 51 };
    uint32_t range = (uint32_t)(first_port + 120) << 16 | (uint32_t)(first_port + 101);
    int fd = tcp(0);
    socklen_t size = sizeof(range);
    long result = setsockopt(fd, IPPROTO_IP, PORT_RANGE, &range, sizeof(range));
    connect_to(fd, SERVER, ECHO);
    exchange(fd);
    uint32_t found = 0;
    /* After a connect that succeeded, nobody waits until it is put back. */
    for (int i = 0; i < 300 && found != range; i++) {
        usleep(10000);
        getsockopt(fd, IPPROTO_IP, PORT_RANGE, &found, &size);
    }
    struct sockaddr_in local = {0};
    size = sizeof(local);
    getsockname(fd, (struct sockaddr *)&local, &size);
    int port = ntohs(local.sin_port) - first_port;
    printf("set %ld, kept %d, in range %d\n", result, found == range, port > 100 && port <= 120);
}

SERVER_FIRST(so_error_server_first, "SO_ERROR and state where the server speaks first")
{
    int fd = connected_to(GREET, SOCK_NONBLOCK);
    wait_for(fd, POLLIN);
    say_error(fd);
    say_state(fd);
    say_got(fd, 8);
}
