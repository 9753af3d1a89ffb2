// The server's calls. The clients are children of the same program, so both ends are under the library, or neither.
#include "transcript.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { V6 = 1, GROUP = 2, NO_REUSE = 4, SECOND = 8 };

static void on(int fd, int option)
{
    int one = 1;
    setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one));
}

static int bound(int which, int flags)
{
    int fd = socket(flags & V6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in local = to("0.0.0.0", OWN + which);
    struct sockaddr_in6 local6 = {.sin6_family = AF_INET6, .sin6_port = local.sin_port};
    if (!(flags & NO_REUSE))
        on(fd, SO_REUSEADDR);
    if (flags & GROUP)
        on(fd, SO_REUSEPORT);
    int result = flags & V6 ? bind(fd, (struct sockaddr *)&local6, sizeof(local6)) : bind(fd, (struct sockaddr *)&local, sizeof(local));
    if (result < 0)
        printf("bind fails %s\n", strerrorname_np(errno));
    else if (flags & SECOND)
        printf("bind succeeds\n");
    return fd;
}

static int listening(int which, int flags)
{
    int fd = bound(which, flags);
    SAY(listen(fd, 16));
    return fd;
}

// Ends with the case, also when that is killed: who keeps standard output open keeps the test waiting.
static pid_t fork_child(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

// A client in a child: writes, and ends with 0 when the answer is the same.
static pid_t client(const char *address, int which)
{
    pid_t child = fork_child();
    if (child != 0)
        return child;
    char answer[REQUEST] = "";
    struct sockaddr_in peer = to(address, OWN + which);
    struct sockaddr_in6 peer6 = {.sin6_family = AF_INET6, .sin6_port = peer.sin_port};
    bool v6 = inet_pton(AF_INET6, address, &peer6.sin6_addr) == 1;
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    int result = v6 ? connect(fd, (struct sockaddr *)&peer6, sizeof(peer6)) : connect(fd, (struct sockaddr *)&peer, sizeof(peer));
    if (result < 0 || send(fd, request, REQUEST, MSG_NOSIGNAL) != REQUEST)
        _exit(errno);
    _exit(recv(fd, answer, REQUEST, MSG_WAITALL) == REQUEST && !memcmp(answer, request, REQUEST) ? 0 : 100);
}

static void serve(int fd)
{
    char text[REQUEST];
    if (recv(fd, text, REQUEST, MSG_WAITALL) == REQUEST)
        put(fd, text, REQUEST);
    close(fd);
}

static void say_client(pid_t child)
{
    int status = wait_child(child);
    printf("client: %s\n", status == 0 ? "served" : status < 100 ? strerrorname_np(status) : "not served");
}

static void serve_one(int listener, int which)
{
    pid_t child = client(SERVER, which);
    serve(accept(listener, NULL, NULL));
    say_client(child);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    getsockopt(fd, level, name, &value, &size);
    return value;
}

static int backlog(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    return info.tcpi_state == TCP_LISTEN ? (int)info.tcpi_sacked : -1;
}

CASE(basic, "bind, listen, the options as the program set them, accept")
{
    int fd = bound(0, 0);
    printf("listens %d, SO_REUSEPORT %d\n", option(fd, SOL_SOCKET, SO_ACCEPTCONN), option(fd, SOL_SOCKET, SO_REUSEPORT));
    SAY(listen(fd, 16));
    printf("listens %d, SO_REUSEPORT %d, SO_REUSEADDR %d\n", option(fd, SOL_SOCKET, SO_ACCEPTCONN),
           option(fd, SOL_SOCKET, SO_REUSEPORT), option(fd, SOL_SOCKET, SO_REUSEADDR));
    serve_one(fd, 0);
    serve_one(fd, 0);
    SAY(close(fd));
}

CASE(listener_options, "TCP_DEFER_ACCEPT and TCP_SAVE_SYN of a listener as the program set them")
{
    int fd = listening(0, 0);
    printf("TCP_DEFER_ACCEPT %d, TCP_SAVE_SYN %d\n", option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), option(fd, IPPROTO_TCP, TCP_SAVE_SYN));
}

CASE(accepted_options, "what an accepted socket inherits")
{
    int fd = bound(0, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    on(fd, SO_KEEPALIVE);
    SAY(listen(fd, 16));
    pid_t child = client(SERVER, 0);
    int accepted = accept(fd, NULL, NULL);
    printf("SO_REUSEADDR %d, SO_KEEPALIVE %d, TCP_NODELAY %d, SO_LINGER %d\n", option(accepted, SOL_SOCKET, SO_REUSEADDR),
           option(accepted, SOL_SOCKET, SO_KEEPALIVE), option(accepted, IPPROTO_TCP, TCP_NODELAY), option(accepted, SOL_SOCKET, SO_LINGER));
    printf("SO_REUSEPORT %d\n", option(accepted, SOL_SOCKET, SO_REUSEPORT));
    serve(accepted);
    say_client(child);
}

CASE(again, "the backlog changed by a second listen")
{
    int fd = bound(0, 0);
    SAY(listen(fd, 1));
    printf("backlog %d\n", backlog(fd));
    SAY(listen(fd, 77));
    printf("backlog %d\n", backlog(fd));
    SAY(listen(fd, -1));
    SAY(listen(fd, 0));
    printf("backlog %d\n", backlog(fd));
    SAY(listen(fd, 5));
    serve_one(fd, 0);
}

CASE(unbound, "listen without bind: the kernel chooses a port")
{
    int fd = tcp(0);
    struct sockaddr_in local = {0};
    socklen_t size = sizeof(local);
    SAY(listen(fd, 4));
    SAY(getsockname(fd, (struct sockaddr *)&local, &size));
    printf("%s, port %s\n", inet_ntoa(local.sin_addr), local.sin_port ? "chosen" : "none");
    serve_one(fd, ntohs(local.sin_port) - first_port - OWN);
}

CASE(dual_stack, "one IPv6 listener, clients of both families")
{
    static const char *const addresses[] = {"192.0.2.2", "2001:db8::2", "127.0.0.1", "::1", "::ffff:192.0.2.2"};
    int fd = listening(0, V6);
    for (int i = 0; i < 5; i++) {
        pid_t child = client(addresses[i], 0);
        struct sockaddr_in6 peer = {0};
        socklen_t size = sizeof(peer);
        int accepted = accept(fd, (struct sockaddr *)&peer, &size);
        char text[INET6_ADDRSTRLEN];
        printf("from %s, size %u\n", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof(text)), size);
        serve(accepted);
        say_client(child);
    }
}

CASE(only_ipv6, "IPV6_V6ONLY, with an IPv4 listener next to it")
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0), one = 1, ipv4 = bound(0, 0);
    struct sockaddr_in6 local = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)(first_port + OWN))};
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)));
    on(fd, SO_REUSEADDR);
    SAY(bind(fd, (struct sockaddr *)&local, sizeof(local)));
    SAY(listen(fd, 4));
    SAY(listen(ipv4, 4));
    pid_t child = client("2001:db8::2", 0);
    serve(accept(fd, NULL, NULL));
    say_client(child);
    serve_one(ipv4, 0);
}

CASE(in_use, "a second instance: EADDRINUSE at bind or at listen, as without the library")
{
    int fd = listening(0, 0);
    bound(0, SECOND);
    bound(0, NO_REUSE | SECOND);
    int one = bound(1, 0), two = bound(1, 0);
    SAY(listen(one, 4));
    SAY(listen(two, 4));
    printf("SO_REUSEPORT %d\n", option(two, SOL_SOCKET, SO_REUSEPORT));
    SAY(close(one));
    SAY(listen(two, 4));
    serve_one(two, 1);
    serve_one(fd, 0);
}

CASE(not_in_the_group, "a second instance with SO_REUSEPORT, where the first did not set it")
{
    int fd = listening(0, 0);
    bound(0, GROUP | SECOND);
    serve_one(fd, 0);
}

CASE(own_group, "the program's own SO_REUSEPORT group: every connection served by one of them")
{
    int one = listening(0, GROUP), two = bound(0, GROUP);
    if (SAY(listen(two, 16)) < 0)
        return;
    printf("SO_REUSEPORT %d %d\n", option(one, SOL_SOCKET, SO_REUSEPORT), option(two, SOL_SOCKET, SO_REUSEPORT));
    int served = 0;
    for (int i = 0; i < 20; i++) {
        pid_t child = client(SERVER, 0);
        struct pollfd entries[2] = {{.fd = one, .events = POLLIN}, {.fd = two, .events = POLLIN}};
        if (poll(entries, 2, 5000) > 0)
            serve(accept(entries[0].revents ? one : two, NULL, NULL));
        else
            kill(child, SIGKILL);
        served += wait_child(child) == 0;
    }
    printf("served: %d\n", served);
    SAY(close(one));
    serve_one(two, 0);
}

CASE(own_group_program, "SO_ATTACH_REUSEPORT_CBPF of the program's own")
{
    struct {
        unsigned short code;
        unsigned char jt, jf;
        unsigned int k;
    } instructions[] = {{0x06, 0, 0, 0}};
    struct {
        unsigned short length;
        void *filter;
    } filter = {1, instructions};
    int fd = listening(0, GROUP);
    SAY(setsockopt(fd, SOL_SOCKET, 51 /* SO_ATTACH_REUSEPORT_CBPF */, &filter, sizeof(filter)));
    serve_one(fd, 0);
}

CASE(group_option_cleared, "SO_REUSEPORT changed on a listener")
{
    int fd = listening(0, GROUP), zero = 0;
    SAY(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &zero, sizeof(zero)));
    printf("SO_REUSEPORT %d\n", option(fd, SOL_SOCKET, SO_REUSEPORT));
    serve_one(fd, 0);
}

CASE(prefork, "three children accept from one listener")
{
    int fd = listening(0, 0);
    pid_t workers[3];
    fflush(stdout);
    for (int i = 0; i < 3; i++) {
        workers[i] = fork_child();
        while (workers[i] == 0)
            serve(accept(fd, NULL, NULL));
    }
    SAY(close(fd));
    int served = 0;
    pid_t clients[12];
    for (int i = 0; i < 12; i++)
        clients[i] = client(SERVER, 0);
    for (int i = 0; i < 12; i++)
        served += wait_child(clients[i]) == 0;
    printf("served: %d\n", served);
    for (int i = 0; i < 3; i++)
        kill(workers[i], SIGKILL);
}

CASE(accept_arguments, "accept and accept4: flags, addresses, wrong descriptors")
{
    int fd = listening(0, 0), datagram = socket(AF_INET, SOCK_DGRAM, 0), fresh = tcp(0), file = open("/dev/null", O_RDONLY);
    SAY(accept4(fd, NULL, NULL, 12345));
    SAY(accept(-1, NULL, NULL));
    SAY(accept(datagram, NULL, NULL));
    SAY(accept(fresh, NULL, NULL));
    SAY(accept(file, NULL, NULL));
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(accept(fd, NULL, NULL));
    for (int i = 0; i < 3; i++) {
        pid_t child = client(SERVER, 0);
        struct sockaddr_in peer = {0};
        socklen_t size = i == 1 ? 4 : sizeof(peer);
        wait_for(fd, POLLIN);
        int accepted = accept4(fd, i == 2 ? NULL : (struct sockaddr *)&peer, i == 2 ? NULL : &size, i == 0 ? SOCK_NONBLOCK | SOCK_CLOEXEC : 0);
        printf("descriptor %d, size %u, family %d, %s\n", accepted, size, peer.sin_family, inet_ntoa(peer.sin_addr));
        printf("non-blocking %d, close-on-exec %d\n", !!(fcntl(accepted, F_GETFL) & O_NONBLOCK), fcntl(accepted, F_GETFD));
        wait_for(accepted, POLLIN);
        serve(accepted);
        say_client(child);
    }
}

CASE(bad_pointers, "addresses, sizes and options that are nowhere")
{
    int fd = listening(0, 0);
    struct sockaddr_in peer;
    socklen_t size = sizeof(peer);
    SAY(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, no_memory(), sizeof(int)));
    SAY(getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, no_memory(), &size));
    SAY(getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &peer, no_memory()));
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(accept(fd, (struct sockaddr *)&peer, no_memory()));
    for (int i = 0; i < 2; i++) {
        pid_t child = client(SERVER, 0);
        wait_for(fd, POLLIN);
        if (i == 0)
            SAY(accept(fd, (struct sockaddr *)&peer, no_memory()));
        else
            SAY(accept(fd, no_memory(), &size));
        kill(child, SIGKILL);
        wait_child(child);
    }
    SAY(fcntl(fd, F_SETFL, 0));
    serve_one(fd, 0);
}

static void nothing(int signal)
{
    (void)signal;
}

CASE(accept_waits, "accept interrupted by a signal, ended by SO_RCVTIMEO")
{
    struct sigaction action = {.sa_handler = nothing};
    struct timeval limit = {.tv_usec = 50000};
    struct itimerval timer = {limit, limit}, none = {0};
    int fd = listening(0, 0);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    SAY(accept(fd, NULL, NULL));
    setitimer(ITIMER_REAL, &none, NULL);
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
    SAY(accept(fd, NULL, NULL));
}

CASE(epoll_edge, "a listener in an edge-triggered epoll")
{
    int fd = listening(0, 0), waiting = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = fd}, seen = {0};
    SAY(epoll_ctl(waiting, EPOLL_CTL_ADD, fd, &event));
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(epoll_wait(waiting, &seen, 1, 50));
    pid_t child = client(SERVER, 0);
    SAY(epoll_wait(waiting, &seen, 1, 3000));
    say_events("listener", seen.events);
    int accepted = accept4(fd, NULL, NULL, 0);
    SAY(accept(fd, NULL, NULL));
    serve(accepted);
    say_client(child);
}

CASE(errors, "listen where it must not be")
{
    int datagram = socket(AF_INET, SOCK_DGRAM, 0), file = open("/dev/null", O_RDONLY), fd = listening(0, 0);
    SAY(listen(-1, 1));
    SAY(listen(datagram, 1));
    SAY(listen(file, 1));
    pid_t child = client(SERVER, 0);
    int accepted = accept(fd, NULL, NULL);
    SAY(listen(accepted, 1));
    SAY(connect_to(fd, SERVER, OWN));
    SAY(send(fd, "x", 1, MSG_NOSIGNAL));
    SAY(recv(fd, &fd, 1, 0));
    serve(accepted);
    say_client(child);
}

CASE(shut_down_listener, "shutdown and listen again, then connect from the same socket")
{
    int fd = listening(0, 0);
    SAY(shutdown(fd, SHUT_RDWR));
    SAY(accept(fd, NULL, NULL));
    SAY(listen(fd, 4));
    serve_one(fd, 0);
}

CASE(bound_again, "closed and bound again at once, ten times")
{
    int served = 0;
    for (int i = 0; i < 10; i++) {
        int fd = bound(0, 0);
        if (listen(fd, 4) < 0)
            printf("listen fails %s\n", strerrorname_np(errno));
        pid_t child = client(SERVER, 0);
        serve(accept(fd, NULL, NULL));
        served += wait_child(child) == 0;
        if (close(fd) < 0 || fd != 3)
            printf("descriptor %d\n", fd);
    }
    printf("served: %d\n", served);
}

CASE(memory, "the same again and again for the leak checkers")
{
    for (int i = 0; i < 6; i++) {
        int fd = bound(0, i % 2 ? GROUP : 0);
        if (listen(fd, 4) < 0)
            printf("listen fails %s\n", strerrorname_np(errno));
        pid_t child = client(SERVER, 0);
        serve(accept(fd, NULL, NULL));
        wait_child(child);
        close(fd);
    }
}

CASE(after_exec, "(run by the next ones) what an executed program finds")
{
    const char *number = getenv("CONFORMANCE_FD");
    if (!number)
        return;
    int fd = atoi(number);
    printf("listens %d\n", option(fd, SOL_SOCKET, SO_ACCEPTCONN));
    if (getenv("CONFORMANCE_LISTEN"))
        SAY(listen(fd, 8));
    struct timeval limit = {.tv_sec = 4};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    pid_t child = client(SERVER, 0);
    int accepted = accept(fd, NULL, NULL);
    if (accepted < 0)
        printf("accept fails %s\n", strerrorname_np(errno));
    else
        serve(accepted);
    say_client(child);
}

static void become(int fd)
{
    char port[12], number[12], *arguments[] = {"listen", "after_exec", port, NULL};
    snprintf(port, sizeof(port), "%d", first_port);
    snprintf(number, sizeof(number), "%d", fd);
    setenv("CONFORMANCE_FD", number, 1);
    execv("/proc/self/exe", arguments);
    printf("execv fails\n");
}

CASE(handed_over, "a listener kept over exec, as nginx does when it is upgraded")
{
    become(listening(0, 0));
}

CASE(activated, "a listener that was made without the library and passed on as systemd does; the program only accepts")
{
    char process[12];
    int fd = bound(0, 0);
    SAY(syscall(SYS_listen, fd, 8));
    snprintf(process, sizeof(process), "%d", getpid());
    setenv("LISTEN_PID", process, 1);
    setenv("LISTEN_FDS", "1", 1);
    become(fd);
}

CASE(activated_listens, "passed on without a word; the program calls listen")
{
    int fd = bound(0, 0);
    SAY(syscall(SYS_listen, fd, 8));
    setenv("CONFORMANCE_LISTEN", "1", 1);
    become(fd);
}

CASE(received, "a listener that was made without the library and came in a message")
{
    int fd = bound(0, 0);
    SAY(syscall(SYS_listen, fd, 8));
    fd = pass_on(fd);
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(accept(fd, NULL, NULL));
    SAY(fcntl(fd, F_SETFL, 0));
    serve_one(fd, 0);
}

CASE(copy_before, "a copy and a child that have the socket from before listen accept")
{
    int fd = bound(0, 0), copy = dup(fd), go[2];
    char byte;
    SAY(pipe(go));
    pid_t child = fork_child();
    if (child == 0) {
        if (read(go[0], &byte, 1) == 1)
            serve(accept(fd, NULL, NULL));
        _exit(0);
    }
    SAY(listen(fd, 8));
    serve_one(copy, 0);
    pid_t other = client(SERVER, 0);
    if (write(go[1], "x", 1) != 1)
        printf("the pipe is closed\n");
    say_client(other);
    printf("child: %d\n", wait_child(child));
}

CASE(activated_unheard, "a socket that was bound without the library; the program calls listen")
{
    int fd = bound(0, 0);
    setenv("CONFORMANCE_LISTEN", "1", 1);
    become(fd);
}
