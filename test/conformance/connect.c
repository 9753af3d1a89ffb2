// connect(2) in every mood.
#include "transcript.h"

#include <net/if.h>
#include <sys/time.h>

static void say_local(int fd)
{
    struct sockaddr_in local = {0};
    socklen_t size = sizeof(local);
    SAY(getsockname(fd, (struct sockaddr *)&local, &size));
    printf("local: size %u, %s, port %s\n", size, inet_ntoa(local.sin_addr), local.sin_port ? "chosen" : "none");
}

static void say_peer(int fd)
{
    struct sockaddr_in peer = {0};
    socklen_t size = sizeof(peer);
    SAY(getpeername(fd, (struct sockaddr *)&peer, &size));
    printf("peer: size %u, %s, port +%d\n", size, inet_ntoa(peer.sin_addr), peer.sin_port ? ntohs(peer.sin_port) - first_port : -1);
}

CASE(blocking, "blocking; who is at both ends; a second connect after data")
{
    int fd = tcp(0);
    say_local(fd);
    say_peer(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    say_local(fd);
    say_peer(fd);
    say_error(fd);
    exchange(fd);
    say_local(fd);
    say_peer(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    SAY(close(fd));
}

CASE(connected_twice, "a second blocking connect before anything was written")
{
    int fd = tcp(0);
    SAY(connect_to(fd, SERVER, ECHO));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
}

CASE(nonblocking, "non-blocking, completed by poll and connect")
{
    int fd = tcp(SOCK_NONBLOCK);
    SAY(connect_to(fd, SERVER, ECHO));
    say_events("poll", (unsigned int)wait_for(fd, POLLOUT));
    say_error(fd);
    say_peer(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
    SAY(close(fd));
}

CASE(nonblocking_ioctl, "made non-blocking between socket and connect, and blocking again after")
{
    int fd = tcp(0);
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(connect_to(fd, SERVER, ECHO));
    wait_for(fd, POLLOUT);
    SAY(fcntl(fd, F_SETFL, 0));
    exchange(fd);
    printf("blocking: %d\n", !(fcntl(fd, F_GETFL) & O_NONBLOCK));
}

CASE(refused, "refused, refused again, then accepted elsewhere on the same socket")
{
    int fd = tcp(0);
    if (SAY(connect_to(fd, SERVER, CLOSED)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    say_error(fd);
    say_peer(fd);
    if (SAY(connect_to(fd, SERVER, CLOSED)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
    SAY(close(fd));
}

CASE(refused_nonblocking, "refused while non-blocking: told once by SO_ERROR, then accepted elsewhere")
{
    int fd = tcp(SOCK_NONBLOCK);
    if (SAY(connect_to(fd, SERVER, CLOSED)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    say_events("poll", (unsigned int)wait_for(fd, POLLIN | POLLOUT));
    say_error(fd);
    say_error(fd);
    say_peer(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    wait_for(fd, POLLOUT);
    exchange(fd);
}

CASE(refused_told_by_connect, "refused while non-blocking: told by the second connect")
{
    int fd = tcp(SOCK_NONBLOCK);
    if (SAY(connect_to(fd, SERVER, CLOSED)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    wait_for(fd, POLLIN);
    SAY(connect_to(fd, SERVER, CLOSED));
    say_error(fd);
}

CASE(refused_told_by_send, "refused while non-blocking: told by send")
{
    int fd = tcp(SOCK_NONBLOCK);
    if (SAY(connect_to(fd, SERVER, CLOSED)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    wait_for(fd, POLLIN);
    SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    say_error(fd);
}

CASE(refused_told_by_recv, "refused while non-blocking: told by recv")
{
    int fd = tcp(SOCK_NONBLOCK);
    char byte;
    if (SAY(connect_to(fd, SERVER, CLOSED)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    wait_for(fd, POLLIN);
    SAY(recv(fd, &byte, 1, 0));
    SAY(recv(fd, &byte, 1, 0));
    say_error(fd);
}

CASE(unreachable_network, "no route")
{
    int fd = tcp(0);
    SAY(connect_to(fd, NO_NETWORK, ECHO));
    say_error(fd);
    say_local(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
}

CASE(unreachable_host, "an unreachable route, blocking and not")
{
    SAY(connect_to(tcp(0), NO_HOST, ECHO));
    SAY(connect_to(tcp(SOCK_NONBLOCK), NO_HOST, ECHO));
}

static void limit_sending(int fd, int ms)
{
    struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    SAY(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
}

CASE(send_timeout, "SO_SNDTIMEO ends a blocking connect that nobody answers")
{
    int fd = tcp(0);
    limit_sending(fd, 200);
    int64_t start = now_ms();
    if (SAY(connect_to(fd, NOBODY, ECHO)) == 0)
        SAY(send(fd, request, REQUEST, 0));
    say_waited(start, 200);
    SAY(connect_to(fd, NOBODY, ECHO));
    say_error(fd);
    SAY(close(fd));
}

CASE(poll_timeout, "a non-blocking connect that nobody answers, given up")
{
    int fd = tcp(SOCK_NONBLOCK);
    if (SAY(connect_to(fd, NOBODY, ECHO)) == 0)
        SAY(send(fd, request, REQUEST, 0));
    struct pollfd entry = {.fd = fd, .events = POLLOUT | POLLIN};
    int64_t start = now_ms();
    SAY(poll(&entry, 1, 200));
    say_waited(start, 200);
    say_events("poll", (unsigned int)entry.revents);
    SAY(connect_to(fd, NOBODY, ECHO));
    say_peer(fd);
    say_error(fd);
    SAY(close(fd));
    exchange(connected_to(ECHO, 0));
}

CASE(timed_out, "ETIMEDOUT")
{
    int fd = tcp(0), patience = 500;
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience)));
    if (SAY(connect_to(fd, NOBODY, ECHO)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    say_error(fd);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static void interrupt_after(int ms, int flags)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
    /* Again and again: the first may come before the call that is to be interrupted. */
    const struct timeval each = {.tv_usec = ms * 1000};
    struct itimerval timer = {each, each};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void say_signals(void)
{
    alarm(PATIENCE);
    signal(SIGALRM, SIG_DFL);
    printf("signals: %s\n", alarms > 0 ? "some" : "none");
}

CASE(interrupted, "interrupted by a signal, asked again, given up")
{
    int fd = tcp(0);
    interrupt_after(100, 0);
    if (SAY(connect_to(fd, NOBODY, ECHO)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    say_signals();
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(connect_to(fd, NOBODY, ECHO));
    say_error(fd);
    SAY(close(fd));
}

CASE(restarted, "interrupted with SA_RESTART and a send timeout")
{
    int fd = tcp(0);
    limit_sending(fd, 3000);
    interrupt_after(100, SA_RESTART);
    if (SAY(connect_to(fd, NOBODY, ECHO)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    say_signals();
    SAY(close(fd));
}

CASE(interrupted_often, "a timer that fires all the time")
{
    struct itimerval timer = {.it_interval = {.tv_usec = 500}, .it_value = {.tv_usec = 500}};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int i = 0; i < 10; i++) {
        int fd = tcp(0);
        connect_to(fd, SERVER, ECHO);
        exchange(fd);
        close(fd);
    }
    timer = (struct itimerval){0};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static volatile sig_atomic_t connections, failures;

static void connect_once(int signal)
{
    (void)signal;
    char answer[REQUEST] = "";
    int error = errno, fd = tcp(0);
    if (connect_to(fd, SERVER, ECHO) < 0 || write(fd, request, REQUEST) != REQUEST ||
        recv(fd, answer, REQUEST, MSG_WAITALL) != REQUEST || memcmp(answer, request, REQUEST) != 0)
        failures++;
    close(fd);
    connections++;
    errno = error;
}

CASE(in_handlers, "connections in a signal handler, in the middle of malloc, of other connections and of stdio")
{
    struct itimerval timer = {.it_value = {.tv_usec = 2000}};
    struct sigaction action = {.sa_handler = connect_once, .sa_flags = SA_RESTART};
    FILE *nowhere = fopen("/dev/null", "w");
    sigaction(SIGALRM, &action, NULL);
    for (int seen = 0; connections < 20; seen = connections) {
        setitimer(ITIMER_REAL, &timer, NULL);
        while (connections == seen) {
            char *memory = malloc(5000);
            fprintf(nowhere, "%p %s\n", (void *)memory, request);
            free(memory);
            connect_once(0);
        }
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("failed: %d\n", (int)failures);
}

static long disconnect(int fd)
{
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    return connect(fd, &nobody, sizeof(nobody));
}

CASE(unspecified, "AF_UNSPEC on a fresh, a connected and a pending socket, each then connected")
{
    int fd = tcp(0);
    SAY(disconnect(fd));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
    SAY(disconnect(fd));
    say_peer(fd);
    say_local(fd);
    say_error(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
    int pending = tcp(SOCK_NONBLOCK);
    connect_to(pending, NOBODY, ECHO);
    SAY(disconnect(pending));
    say_peer(pending);
    say_error(pending);
    connect_to(pending, SERVER, ECHO);
    wait_for(pending, POLLOUT);
    exchange(pending);
}

CASE(unspecified_unsent, "AF_UNSPEC right after connect; the next connect goes elsewhere")
{
    int fd = tcp(0);
    SAY(connect_to(fd, SERVER, DIGEST));
    SAY(disconnect(fd));
    say_peer(fd);
    say_local(fd);
    say_error(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    say_peer(fd);
    exchange(fd);
}

static void bind_and_connect(const char *address, int port)
{
    int fd = tcp(0), on = 1;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)}, now = {0};
    inet_pton(AF_INET, address, &local.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    SAY(bind(fd, (struct sockaddr *)&local, sizeof(local)));
    socklen_t size = sizeof(local);
    getsockname(fd, (struct sockaddr *)&local, &size);
    SAY(connect_to(fd, SERVER, ECHO));
    getsockname(fd, (struct sockaddr *)&now, &size);
    printf("same port: %d, address %s\n", now.sin_port == local.sin_port, inet_ntoa(now.sin_addr));
    exchange(fd);
    getsockname(fd, (struct sockaddr *)&now, &size);
    printf("same port: %d, address %s\n", now.sin_port == local.sin_port, inet_ntoa(now.sin_addr));
    close(fd);
}

CASE(bound, "bound to an address, to a port, and to both first")
{
    bind_and_connect("192.0.2.1", 0);
    bind_and_connect("0.0.0.0", first_port + 90);
    bind_and_connect("192.0.2.1", first_port + 91);
}

CASE(bound_late, "bound to an address without a port (IP_BIND_ADDRESS_NO_PORT)")
{
    int fd = tcp(0), on = 1;
    struct sockaddr_in local = {.sin_family = AF_INET};
    inet_pton(AF_INET, "192.0.2.1", &local.sin_addr);
    SAY(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)));
    SAY(bind(fd, (struct sockaddr *)&local, sizeof(local)));
    say_local(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    say_local(fd);
    exchange(fd);
}

CASE(bound_and_refused, "bound, refused, and connected after that from the same port")
{
    int fd = tcp(0);
    struct sockaddr_in local = to("192.0.2.1", 92);
    SAY(bind(fd, (struct sockaddr *)&local, sizeof(local)));
    if (SAY(connect_to(fd, SERVER, CLOSED)) == 0)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
    socklen_t size = sizeof(local);
    getsockname(fd, (struct sockaddr *)&local, &size);
    printf("same port: %d\n", ntohs(local.sin_port) == first_port + 92);
}

CASE(address_in_use, "a second connection of the same four numbers")
{
    int one = tcp(0), two = tcp(0), on = 1;
    struct sockaddr_in local = to("192.0.2.1", 93);
    setsockopt(one, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(two, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    SAY(bind(one, (struct sockaddr *)&local, sizeof(local)));
    SAY(bind(two, (struct sockaddr *)&local, sizeof(local)));
    SAY(connect_to(one, SERVER, ECHO));
    SAY(connect_to(two, SERVER, ECHO));
    exchange(one);
    say_error(two);
    SAY(connect_to(two, SERVER, DIGEST));
    put(two, request, REQUEST);
    finish(two);
}

CASE(device, "SO_BINDTODEVICE")
{
    int fd = tcp(0);
    SAY(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lab0", 5));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
    char name[IFNAMSIZ] = "";
    socklen_t size = sizeof(name);
    SAY(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &size));
    printf("device: %s\n", name);
}

static void over_ipv6(const char *address)
{
    struct sockaddr_in6 peer = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)(first_port + ECHO))}, found = {0};
    inet_pton(AF_INET6, address, &peer.sin6_addr);
    int fd = socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP);
    SAY(connect(fd, (struct sockaddr *)&peer, sizeof(peer)));
    socklen_t size = sizeof(found);
    SAY(getpeername(fd, (struct sockaddr *)&found, &size));
    printf("peer: size %u, same %d\n", size, !memcmp(&found.sin6_addr, &peer.sin6_addr, 16) && found.sin6_port == peer.sin6_port);
    char text[INET6_ADDRSTRLEN];
    getsockname(fd, (struct sockaddr *)&found, &size);
    printf("local: %s\n", inet_ntop(AF_INET6, &found.sin6_addr, text, sizeof(text)));
    exchange(fd);
    size = 8;
    SAY(getpeername(fd, (struct sockaddr *)&found, &size));
    printf("size: %u\n", size);
}

CASE(ipv6, "IPv6")
{
    over_ipv6("2001:db8::2");
}

CASE(mapped, "an IPv4-mapped IPv6 address")
{
    over_ipv6("::ffff:192.0.2.2");
}

CASE(abandoned, "closed before it completed, many times")
{
    for (int i = 0; i < 20; i++) {
        int fd = tcp(SOCK_NONBLOCK);
        connect_to(fd, i % 2 ? NOBODY : SERVER, ECHO);
        if (close(fd) < 0 || fd != 3)
            printf("close: descriptor %d\n", fd);
    }
    int fd = connected_to(ECHO, 0);
    printf("descriptor %d\n", fd);
    exchange(fd);
}

CASE(shut_down, "shutdown before connect, and right after it")
{
    int fd = tcp(0);
    SAY(shutdown(fd, SHUT_WR));
    SAY(connect_to(fd, SERVER, DIGEST));
    SAY(shutdown(fd, SHUT_WR));
    say_got(fd, 100);
    SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_RDWR));
}

CASE(nonsense, "arguments that are wrong, and sockets that are not TCP")
{
    struct sockaddr_in peer = to(SERVER, ECHO);
    struct sockaddr_storage odd = {.ss_family = AF_UNIX};
    int fd = tcp(0), file = open("/dev/null", O_RDWR), datagram = socket(AF_INET, SOCK_DGRAM, 0), pair[2];
    SAY(connect(-1, (struct sockaddr *)&peer, sizeof(peer)));
    SAY(connect(1000, (struct sockaddr *)&peer, sizeof(peer)));
    SAY(connect(file, (struct sockaddr *)&peer, sizeof(peer)));
    SAY(connect(fd, NULL, sizeof(peer)));
    SAY(connect(fd, (struct sockaddr *)&peer, 0));
    SAY(connect(fd, (struct sockaddr *)&peer, 1));
    SAY(connect(fd, (struct sockaddr *)&peer, 8));
    SAY(connect(fd, (struct sockaddr *)&odd, sizeof(odd)));
    odd.ss_family = AF_INET6;
    SAY(connect(fd, (struct sockaddr *)&odd, sizeof(struct sockaddr_in6)));
    SAY(connect(socket(AF_INET6, SOCK_STREAM, 0), (struct sockaddr *)&peer, 8));
    SAY(connect(datagram, (struct sockaddr *)&peer, sizeof(peer)));
    SAY(send(datagram, "x", 1, 0));
    SAY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    SAY(write(pair[0], "through the pair", 16));
    say_got(pair[1], 16);
    SAY(send(file, "x", 1, 0));
    SAY(write(file, "x", 1));
    SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
}

CASE(bad_pointers, "addresses that are nowhere: on TCP sockets, and not quite nowhere on others")
{
    struct sockaddr_in peer = to(SERVER, ECHO);
    int fd = tcp(0), local = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t size = sizeof(peer);
    SAY(connect(fd, no_memory(), sizeof(peer)));
    SAY(connect(fd, (struct sockaddr *)16, sizeof(peer)));
    SAY(connect(fd, (struct sockaddr *)-16L, sizeof(peer)));
    SAY(connect(local, (struct sockaddr *)16, sizeof(peer)));
    SAY(connect(local, (struct sockaddr *)-16L, sizeof(peer)));
    SAY(sendto(fd, request, REQUEST, MSG_FASTOPEN, no_memory(), sizeof(peer)));
    SAY(connect_to(fd, SERVER, ECHO));
    SAY(getpeername(fd, no_memory(), &size));
    SAY(getpeername(fd, (struct sockaddr *)&peer, no_memory()));
    exchange(fd);
}

CASE(size_too_big, "an address size beyond sockaddr_storage")
{
    struct sockaddr_in peer = to(SERVER, ECHO);
    int fd = tcp(0);
    SAY(connect(fd, (struct sockaddr *)&peer, 1000));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
}

CASE(bigger_address, "an address with more room than it needs")
{
    union {
        struct sockaddr_in in;
        struct sockaddr_storage storage;
    } peer = {0};
    peer.in = to(SERVER, ECHO);
    int fd = tcp(0);
    SAY(connect(fd, (struct sockaddr *)&peer, sizeof(peer)));
    say_peer(fd);
    exchange(fd);
}
