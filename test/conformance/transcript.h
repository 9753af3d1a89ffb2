// What the conformance programs share: cases that are run by name, and a transcript of what every call returned.
// The services of peer.py are at 192.0.2.2, from PORT on. Nothing that varies is printed.
#ifndef CONFORMANCE_TRANSCRIPT_H
#define CONFORMANCE_TRANSCRIPT_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-function"

// Ports of peer.py, behind the first.
enum service { ECHO, DIGEST, GREET, RESET, SLOW, HANGUP, CLOSED = 9, OWN = 10 };

#define SERVER "192.0.2.2"
#define NOBODY "192.0.2.66"          // packets to it are lost
#define NO_NETWORK "203.0.113.1"     // no route
#define NO_HOST "198.51.100.1"       // an unreachable route

static const char request[] = "a request that is longer than what the token protects\n";
enum { REQUEST = sizeof(request) - 1 };
/* Seconds that a case may take. */
enum { PATIENCE = 20 };

static int first_port;

// Prints an expression, its value, its errno where it failed, and where it succeeded and changed errno all the same.
#define SAY(expression) say(#expression, (errno = 0, (long)(expression)))

static long say(const char *what, long result)
{
    int error = errno;
    printf("%s = %ld%s%s\n", what, result, error ? " " : "", error ? strerrorname_np(error) : "");
    errno = error;
    return result;
}

static void say_events(const char *what, unsigned int events)
{
    static const struct {
        unsigned int bit;
        const char *name;
    } names[] = {{POLLIN, "IN"}, {POLLPRI, "PRI"}, {POLLOUT, "OUT"}, {POLLERR, "ERR"}, {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"}, {POLLRDHUP, "RDHUP"}};
    printf("%s:", what);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (events & names[i].bit)
            printf(" %s", names[i].name);
    printf("\n");
}

// A page that nobody may touch.
static void *no_memory(void)
{
    static void *page;
    if (!page)
        page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page;
}

static int so_error(int fd)
{
    int error = -1;
    socklen_t size = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

static void say_error(int fd)
{
    int error = so_error(fd);
    printf("SO_ERROR: %s\n", error > 0 ? strerrorname_np(error) : error == 0 ? "none" : "unknown");
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say_waited(int64_t since_ms, int64_t wanted_ms)
{
    int64_t took = now_ms() - since_ms;
    printf("waited: %s\n", took + 2 < wanted_ms ? "too short" : took > wanted_ms + 3000 ? "too long" : "as told");
}

static struct sockaddr_in to(const char *address, int service)
{
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((unsigned short)(first_port + service))};
    inet_pton(AF_INET, address, &peer.sin_addr);
    return peer;
}

static int connect_to(int fd, const char *address, int service)
{
    struct sockaddr_in peer = to(address, service);
    return connect(fd, (struct sockaddr *)&peer, sizeof(peer));
}

static int tcp(int flags)
{
    return socket(AF_INET, SOCK_STREAM | flags, 0);
}

static int connected_to(int service, int flags)
{
    int fd = tcp(flags);
    if (connect_to(fd, SERVER, service) < 0 && errno != EINPROGRESS)
        printf("connect fails %s\n", strerrorname_np(errno));
    return fd;
}

static int wait_for(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    poll(&entry, 1, 5000);
    return entry.revents;
}

// Writes all, as a program does that minds EAGAIN. False, and a line, when it fails.
static bool put(int fd, const void *data, size_t length)
{
    const char *next = data;
    while (length > 0) {
        ssize_t sent = send(fd, next, length, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            wait_for(fd, POLLOUT);
            continue;
        }
        if (sent < 0) {
            printf("put: %s\n", strerrorname_np(errno));
            return false;
        }
        next += sent;
        length -= (size_t)sent;
    }
    return true;
}

// Reads what comes until `length` bytes are there, or the end. Prints it as text.
static void say_got(int fd, size_t length)
{
    char text[4096];
    size_t got = 0;
    ssize_t result = 1;
    while (got < length && got < sizeof(text) && result > 0) {
        size_t room = (length < sizeof(text) ? length : sizeof(text)) - got;
        result = recv(fd, text + got, room, 0);
        if (result < 0 && errno == EAGAIN && wait_for(fd, POLLIN))
            result = 1;
        else if (result > 0)
            got += (size_t)result;
    }
    while (got > 0 && text[got - 1] == '\n')
        got--;
    printf("got: \"%.*s\"%s%s\n", (int)got, text, result < 0 ? " then " : result == 0 ? " then the end" : "",
           result < 0 ? strerrorname_np(errno) : "");
}

static void exchange(int fd)
{
    if (put(fd, request, REQUEST))
        say_got(fd, REQUEST);
}

// Ends what is written to a DIGEST (or SLOW) and prints the server's account of it.
static void finish(int fd)
{
    SAY(shutdown(fd, SHUT_WR));
    say_got(fd, 100);
    SAY(close(fd));
}

// Sends a descriptor to itself, by SCM_RIGHTS, and closes the one it had.
static int pass_on_by(int fd, bool several)
{
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    control.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    SAY(sendmsg(pair[0], &message, 0));
    SAY(close(fd));
    struct mmsghdr batch[2] = {{.msg_hdr = message}};
    if (several)
        SAY(recvmmsg(pair[1], batch, 1, 0, NULL));
    else
        SAY(recvmsg(pair[1], &batch[0].msg_hdr, 0));
    int passed = -1;
    memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&batch[0].msg_hdr)), sizeof(passed));
    close(pair[0]);
    close(pair[1]);
    return passed;
}

static int pass_on(int fd)
{
    return pass_on_by(fd, false);
}

static int wait_child(pid_t child)
{
    int status = 0;
    fflush(stdout);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct conformance_case {
    const char *name;
    void (*run)(void);
};
static struct conformance_case cases[100];
static int case_count;

static void add_case(const char *name, void (*run)(void))
{
    cases[case_count++] = (struct conformance_case){name, run};
}

// The test reads names and texts from the source. SERVER_FIRST: the client does not speak first, so without integrity.
#define CASE(name, text)                                                                                              \
    static void name(void);                                                                                           \
    __attribute__((constructor(200))) static void add_##name(void)                                                    \
    {                                                                                                                 \
        add_case(#name, name);                                                                                        \
    }                                                                                                                 \
    static void name(void)
#define SERVER_FIRST(name, text) CASE(name, text)

static void (*chosen)(void);

static void *run_in_thread(void *nothing)
{
    chosen();
    return nothing;
}

static void run_in_handler(int signal)
{
    (void)signal;
    chosen();
}

static int run_in_child(void)
{
    pid_t child = fork();
    if (child != 0)
        return wait_child(child);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    chosen();
    fflush(stdout);
    _exit(0);
}

static int run_case(const char *name, const char *port, const char *from)
{
    pthread_t thread;
    for (int i = 0; i < case_count; i++)
        if (strcmp(cases[i].name, name) == 0)
            chosen = cases[i].run;
    if (!chosen)
        return 2;
    first_port = atoi(port);
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(strcmp(from, "patient") == 0 ? 3 * PATIENCE : PATIENCE); // a call that never returns is a finding, too
    if (strcmp(from, "child") == 0)
        return run_in_child();
    if (strcmp(from, "handler") == 0) {
        signal(SIGUSR1, run_in_handler);
        raise(SIGUSR1);
    } else if (strcmp(from, "thread") == 0) {
        pthread_create(&thread, NULL, run_in_thread, NULL);
        pthread_join(thread, NULL);
    } else
        chosen();
    return 0;
}

// `PROGRAM CASE PORT`, and where the case is called from: thread, child or handler; main if nothing is said. Compiled with
// -DCONSTRUCTOR it is a library that calls it before the program that it is loaded into begins.
#ifdef CONSTRUCTOR
__attribute__((constructor(300))) static void run_before_main(void)
{
    const char *name = getenv("CONFORMANCE_CASE"), *port = getenv("CONFORMANCE_PORT");
    if (name && port && run_case(name, port, "constructor") != 0)
        _exit(2);
    unsetenv("CONFORMANCE_CASE");
    alarm(0);
}
#else
int main(int argc, char **argv)
{
    return argc < 3 ? 2 : run_case(argv[1], argv[2], argc > 3 ? argv[3] : "main");
}
#endif

#endif
