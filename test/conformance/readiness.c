// What a pending or delayed connect looks like to every call that waits.
#include "transcript.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>

enum way { SELECT, PSELECT, POLL, PPOLL, EPOLL_WAIT, EPOLL_PWAIT, EPOLL_PWAIT2 };

static unsigned int from_sets(int result, int fd, fd_set sets[3])
{
    if (result <= 0)
        return 0;
    return (FD_ISSET(fd, &sets[0]) ? POLLIN : 0u) | (FD_ISSET(fd, &sets[1]) ? POLLOUT : 0u) | (FD_ISSET(fd, &sets[2]) ? POLLPRI : 0u);
}

static unsigned int by_select(enum way way, int fd, unsigned int events, int ms)
{
    fd_set sets[3];
    struct timeval limit = {ms / 1000, ms % 1000 * 1000};
    struct timespec exact = {ms / 1000, ms % 1000 * 1000000L};
    for (int i = 0; i < 3; i++)
        FD_ZERO(&sets[i]);
    FD_SET(fd, &sets[0]);
    FD_SET(fd, &sets[1]);
    fd_set *in = events & POLLIN ? &sets[0] : NULL, *out = events & POLLOUT ? &sets[1] : NULL;
    if (!in)
        FD_ZERO(&sets[0]);
    if (!out)
        FD_ZERO(&sets[1]);
    int result = way == SELECT ? select(fd + 1, in, out, &sets[2], ms < 0 ? NULL : &limit)
                               : pselect(fd + 1, in, out, &sets[2], ms < 0 ? NULL : &exact, NULL);
    return from_sets(result, fd, sets);
}

static unsigned int by_epoll(enum way way, int fd, unsigned int events, int ms)
{
    struct epoll_event event = {.events = events, .data.u64 = 0x123456789abcdefULL};
    struct timespec exact = {ms / 1000, ms % 1000 * 1000000L};
    int waiting = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(waiting, EPOLL_CTL_ADD, fd, &event);
    event.events = 0;
    int result = way == EPOLL_WAIT    ? epoll_wait(waiting, &event, 1, ms)
                 : way == EPOLL_PWAIT ? epoll_pwait(waiting, &event, 1, ms, NULL)
                                      : epoll_pwait2(waiting, &event, 1, ms < 0 ? NULL : &exact, NULL);
    if (result > 0 && event.data.u64 != 0x123456789abcdefULL)
        printf("the program's own data was changed\n");
    close(waiting);
    return result > 0 ? event.events : 0;
}

static unsigned int wait_by(enum way way, int fd, unsigned int events, int ms)
{
    struct pollfd entry = {.fd = fd, .events = (short)events};
    struct timespec exact = {ms / 1000, ms % 1000 * 1000000L};
    if (way <= PSELECT)
        return by_select(way, fd, events, ms);
    if (way >= EPOLL_WAIT)
        return by_epoll(way, fd, events, ms);
    int result = way == POLL ? poll(&entry, 1, ms) : ppoll(&entry, 1, ms < 0 ? NULL : &exact, NULL);
    return result > 0 ? (unsigned int)entry.revents : 0;
}

// A non-blocking connect; where it says yes at once, the first write as well, for that is when it is made.
static int begin(const char *address, int service)
{
    int fd = tcp(SOCK_NONBLOCK);
    if (connect_to(fd, address, service) == 0 && send(fd, request, REQUEST, MSG_NOSIGNAL) >= 0)
        printf("sent at once\n");
    return fd;
}

static void all(enum way way)
{
    int fd = tcp(SOCK_NONBLOCK);
    say_events("fresh", wait_by(way, fd, POLLIN | POLLOUT, 0));
    connect_to(fd, SERVER, ECHO);
    say_events("writable", wait_by(way, fd, POLLOUT, 5000));
    say_events("both", wait_by(way, fd, POLLIN | POLLOUT, 5000));
    int64_t start = now_ms();
    say_events("not readable", wait_by(way, fd, POLLIN, 120));
    say_waited(start, 120);
    say_error(fd);
    exchange(fd);
    put(fd, "x", 1);
    say_events("readable", wait_by(way, fd, POLLIN, -1));
    int refused = begin(SERVER, CLOSED);
    say_events("refused", wait_by(way, refused, POLLIN | POLLOUT, -1));
    say_error(refused);
    int pending = begin(NOBODY, ECHO);
    start = now_ms();
    say_events("pending", wait_by(way, pending, POLLIN | POLLOUT, 150));
    say_waited(start, 150);
    int ended = begin(SERVER, HANGUP);
    wait_for(ended, POLLOUT);
    put(ended, request, REQUEST);
    say_events("ended", wait_by(way, ended, POLLIN | (way >= POLL ? POLLRDHUP : 0), 5000));
    say_got(ended, 1);
    int reset = begin(SERVER, RESET);
    wait_for(reset, POLLOUT);
    put(reset, request, REQUEST);
    say_events("reset", wait_by(way, reset, POLLIN, 5000));
    say_error(reset);
}

CASE(selected, "select: writable, refused, pending, ended, reset")
{
    all(SELECT);
}

CASE(pselected, "pselect: the same")
{
    all(PSELECT);
}

CASE(polled, "poll: the same")
{
    all(POLL);
}

CASE(ppolled, "ppoll: the same")
{
    all(PPOLL);
}

CASE(epoll_waited, "epoll_wait: the same")
{
    all(EPOLL_WAIT);
}

CASE(epoll_pwaited, "epoll_pwait: the same")
{
    all(EPOLL_PWAIT);
}

CASE(epoll_pwaited2, "epoll_pwait2: the same")
{
    all(EPOLL_PWAIT2);
}

static void add(int waiting, int fd, unsigned int events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    SAY(epoll_ctl(waiting, EPOLL_CTL_ADD, fd, &event));
}

static void next(int waiting, int ms)
{
    struct epoll_event event = {0};
    printf("%d event(s)", epoll_wait(waiting, &event, 1, ms));
    say_events("", event.events);
}

CASE(level, "epoll, level-triggered, registered after connect: told as often as asked")
{
    int waiting = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    connect_to(fd, SERVER, ECHO);
    add(waiting, fd, EPOLLIN | EPOLLOUT);
    next(waiting, 2000);
    next(waiting, 2000);
    exchange(fd);
    next(waiting, 2000);
}

CASE(edge_after, "epoll, edge-triggered, registered after connect: told once, and of new data")
{
    int waiting = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    connect_to(fd, SERVER, ECHO);
    add(waiting, fd, EPOLLOUT | EPOLLET);
    next(waiting, 2000);
    next(waiting, 100);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    put(fd, request, REQUEST);
    SAY(epoll_ctl(waiting, EPOLL_CTL_MOD, fd, &event));
    next(waiting, 2000);
    next(waiting, 100);
}

CASE(edge_before, "epoll, edge-triggered, registered before connect")
{
    int waiting = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(waiting, fd, EPOLLOUT | EPOLLET);
    next(waiting, 0);
    connect_to(fd, SERVER, ECHO);
    next(waiting, 2000);
    exchange(fd);
}

CASE(edge_before_refused, "epoll, edge-triggered, registered before a connect that is refused")
{
    int waiting = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(waiting, fd, EPOLLOUT | EPOLLIN | EPOLLET);
    next(waiting, 0);
    if (connect_to(fd, SERVER, CLOSED) == 0)
        send(fd, request, REQUEST, MSG_NOSIGNAL);
    struct epoll_event event = {0};
    for (int i = 0; i < 3 && !(event.events & EPOLLERR); i++)
        epoll_wait(waiting, &event, 1, 2000);
    say_events("in the end", event.events);
    say_error(fd);
}

CASE(one_shot, "epoll, one-shot")
{
    int waiting = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    connect_to(fd, SERVER, ECHO);
    add(waiting, fd, EPOLLOUT | EPOLLONESHOT);
    next(waiting, 2000);
    next(waiting, 100);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT};
    SAY(epoll_ctl(waiting, EPOLL_CTL_MOD, fd, &event));
    next(waiting, 2000);
    next(waiting, 100);
    exchange(fd);
}

CASE(one_shot_before, "epoll, one-shot, registered before connect")
{
    int waiting = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(waiting, fd, EPOLLOUT | EPOLLONESHOT);
    next(waiting, 0);
    connect_to(fd, SERVER, ECHO);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT};
    SAY(epoll_ctl(waiting, EPOLL_CTL_MOD, fd, &event));
    next(waiting, 2000);
    next(waiting, 100);
    exchange(fd);
}

CASE(level_before, "epoll, level-triggered, registered before connect")
{
    int waiting = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(waiting, fd, EPOLLOUT);
    next(waiting, 0);
    connect_to(fd, SERVER, ECHO);
    next(waiting, 2000);
    exchange(fd);
}

// A thread that has had its time to begin to wait.
static pthread_t elsewhere(void *(*wait)(void *), int *fd, useconds_t microseconds)
{
    pthread_t thread;
    pthread_create(&thread, NULL, wait, fd);
    usleep(microseconds);
    return thread;
}

static long came_of(pthread_t thread)
{
    void *result;
    pthread_join(thread, &result);
    return (long)result;
}

static void *wait_elsewhere(void *waiting)
{
    struct epoll_event event = {0};
    long result = epoll_wait(*(int *)waiting, &event, 1, 4000);
    return (void *)(result > 0 ? (long)event.events : -1);
}

static void from_thread(unsigned int events)
{
    int waiting = epoll_create1(0), fd = tcp(SOCK_NONBLOCK);
    add(waiting, fd, events);
    next(waiting, 0);
    // Level-triggered, a socket that is not connecting yet is ready for ever: it is added when it is.
    if (!(events & EPOLLET))
        epoll_ctl(waiting, EPOLL_CTL_DEL, fd, NULL);
    pthread_t thread = elsewhere(wait_elsewhere, &waiting, 50000);
    connect_to(fd, SERVER, ECHO);
    if (!(events & EPOLLET))
        add(waiting, fd, events);
    say_events("the thread saw", (unsigned int)came_of(thread));
    exchange(fd);
}

CASE(other_thread_level, "connect while another thread waits, level-triggered")
{
    from_thread(EPOLLOUT);
}

CASE(other_thread_edge, "connect while another thread waits, edge-triggered")
{
    from_thread(EPOLLOUT | EPOLLET);
}

static void *poll_elsewhere(void *fd)
{
    struct pollfd entry = {.fd = *(int *)fd, .events = POLLIN};
    poll(&entry, 1, 4000);
    return (void *)(long)entry.revents;
}

CASE(other_thread_poll, "one thread polls for the answer while another writes the request")
{
    int fd = connected_to(ECHO, 0);
    pthread_t thread = elsewhere(poll_elsewhere, &fd, 50000);
    put(fd, request, REQUEST);
    say_events("the thread saw", (unsigned int)came_of(thread));
    say_got(fd, REQUEST);
}

static void *select_elsewhere(void *fd)
{
    return (void *)(long)by_select(SELECT, *(int *)fd, POLLIN, 4000);
}

CASE(other_thread_select, "one thread selects for the answer while another writes the request")
{
    int fd = connected_to(ECHO, 0);
    pthread_t thread = elsewhere(select_elsewhere, &fd, 50000);
    put(fd, request, REQUEST);
    say_events("the thread saw", (unsigned int)came_of(thread));
    say_got(fd, REQUEST);
}

static void *read_elsewhere(void *fd)
{
    char text[REQUEST];
    return (void *)recv(*(int *)fd, text, sizeof(text), MSG_WAITALL);
}

CASE(other_thread_reads, "one thread blocks in recv while another writes the request")
{
    int fd = connected_to(ECHO, 0);
    pthread_t thread = elsewhere(read_elsewhere, &fd, 50000);
    put(fd, request, REQUEST);
    printf("the thread got %ld bytes\n", came_of(thread));
}

CASE(reader_is_told, "one thread blocks in recv, and another ends that by shutdown")
{
    int fd = connected_to(ECHO, 0);
    pthread_t thread = elsewhere(read_elsewhere, &fd, 3500000);
    SAY(shutdown(fd, SHUT_RDWR));
    printf("the thread got %ld bytes\n", came_of(thread));
}

CASE(nothing_to_wait_for, "empty and NULL sets with a connect under way: a mere sleep")
{
    int fd = tcp(SOCK_NONBLOCK);
    connect_to(fd, SERVER, ECHO);
    struct timeval limit = {.tv_usec = 60000};
    struct timespec exact = {.tv_nsec = 60000000};
    int64_t start = now_ms();
    SAY(select(0, NULL, NULL, NULL, &limit));
    printf("left: %s\n", limit.tv_sec == 0 && limit.tv_usec == 0 ? "nothing" : "something");
    SAY(pselect(0, NULL, NULL, NULL, &exact, NULL));
    SAY(poll(NULL, 0, 60));
    SAY(ppoll(NULL, 0, &exact, NULL));
    int waiting = epoll_create1(0);
    struct epoll_event event;
    SAY(epoll_wait(waiting, &event, 1, 60));
    SAY(epoll_pwait2(waiting, &event, 1, &exact, NULL));
    say_waited(start, 360);
    exchange(fd);
}

CASE(time_left, "select says how much of the time is left")
{
    int fd = tcp(SOCK_NONBLOCK);
    connect_to(fd, SERVER, ECHO);
    struct timeval limit = {.tv_sec = 5};
    fd_set writable;
    FD_ZERO(&writable);
    FD_SET(fd, &writable);
    SAY(select(fd + 1, NULL, &writable, NULL, &limit));
    printf("left: %s\n", limit.tv_sec >= 2 && limit.tv_sec < 5 ? "most" : "not what it should be");
}

CASE(wrong_arguments, "wrong counts, times and pointers with a connect under way")
{
    int fd = tcp(SOCK_NONBLOCK), waiting = epoll_create1(0);
    connect_to(fd, SERVER, ECHO);
    struct timeval negative = {.tv_sec = -1}, much = {.tv_usec = 1100000};
    struct timespec wrong = {.tv_nsec = 1000000000};
    struct epoll_event event;
    struct pollfd closed = {.fd = 777, .events = POLLIN}, ignored = {.fd = -1, .events = POLLIN};
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(777, &readable);
    SAY(select(-1, NULL, NULL, NULL, &negative));
    SAY(select(0, NULL, NULL, NULL, &negative));
    SAY(select(778, &readable, NULL, NULL, &much));
    SAY(pselect(0, NULL, NULL, NULL, &wrong, NULL));
    SAY(ppoll(NULL, 0, &wrong, NULL));
    SAY(poll(&closed, 1, 1000));
    say_events("poll", (unsigned int)closed.revents);
    SAY(poll(&ignored, 1, 10));
    SAY(poll(NULL, 1, 10));
    SAY(epoll_wait(waiting, &event, 0, 10));
    SAY(epoll_wait(waiting, &event, -1, 10));
    SAY(epoll_wait(fd, &event, 1, 10));
    SAY(epoll_wait(-1, &event, 1, 10));
    SAY(epoll_wait(waiting, NULL, 1, 10));
    SAY(epoll_pwait2(waiting, &event, 1, &wrong, NULL));
}

CASE(bad_pointers, "entries, sets and times that are nowhere, with a connect under way")
{
    int fd = tcp(SOCK_NONBLOCK), waiting = epoll_create1(0);
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    struct epoll_event event;
    connect_to(fd, SERVER, ECHO);
    SAY(poll(no_memory(), 1, 100));
    SAY(ppoll(no_memory(), 1, NULL, NULL));
    SAY(ppoll(&entry, 1, no_memory(), NULL));
    SAY(select(fd + 1, no_memory(), NULL, NULL, NULL));
    SAY(select(fd + 1, NULL, NULL, NULL, no_memory()));
    SAY(pselect(fd + 1, NULL, no_memory(), NULL, NULL, NULL));
    SAY(pselect(fd + 1, NULL, NULL, NULL, no_memory(), NULL));
    SAY(epoll_ctl(waiting, EPOLL_CTL_ADD, fd, no_memory()));
    SAY(epoll_pwait2(waiting, &event, 1, no_memory(), NULL));
    exchange(fd);
}

CASE(big_sets, "select and poll on descriptors beyond FD_SETSIZE")
{
    enum { HIGH = 5000 };
    struct rlimit limit = {HIGH + 10, HIGH + 10};
    SAY(setrlimit(RLIMIT_NOFILE, &limit));
    int fd = tcp(SOCK_NONBLOCK);
    SAY(dup2(fd, HIGH));
    SAY(close(fd));
    connect_to(HIGH, SERVER, ECHO);
    static unsigned long writable[HIGH / 64 + 1], readable[HIGH / 64 + 1];
    writable[HIGH / 64] |= 1UL << HIGH % 64;
    readable[HIGH / 64] |= 1UL << HIGH % 64;
    struct timeval limit_of_time = {.tv_sec = 5};
    SAY(select(HIGH + 1, (fd_set *)readable, (fd_set *)writable, NULL, &limit_of_time));
    printf("writable %d, readable %d\n", writable[HIGH / 64] != 0, readable[HIGH / 64] != 0);
    static struct pollfd entries[2000];
    for (int i = 0; i < 2000; i++)
        entries[i] = (struct pollfd){.fd = i == 1999 ? HIGH : -1, .events = POLLOUT};
    SAY(poll(entries, 2000, 5000));
    say_events("last", (unsigned int)entries[1999].revents);
    exchange(HIGH);
}

static volatile sig_atomic_t signals;

static void on_signal(int signal)
{
    (void)signal;
    signals++;
}

CASE(masked, "a blocked signal that only the call's own mask lets through")
{
    int fd = tcp(SOCK_NONBLOCK), waiting = epoll_create1(0);
    connect_to(fd, SERVER, ECHO);
    sigset_t none, usr1;
    struct sigaction action = {.sa_handler = on_signal};
    struct epoll_event event;
    struct timespec exact = {.tv_sec = 2};
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    raise(SIGUSR1);
    SAY(poll(NULL, 0, 20));
    SAY(ppoll(NULL, 0, &exact, &none));
    raise(SIGUSR1);
    SAY(pselect(0, NULL, NULL, NULL, &exact, &none));
    raise(SIGUSR1);
    SAY(epoll_pwait(waiting, &event, 1, 2000, &none));
    raise(SIGUSR1);
    SAY(epoll_pwait2(waiting, &event, 1, &exact, &none));
    printf("signals: %d\n", (int)signals);
}

CASE(long_wait, "a wait that is longer than the library's patience, for an answer to three bytes")
{
    int fd = connected_to(ECHO, 0);
    put(fd, "abc", 3);
    say_got(fd, 0);
    struct pollfd entry = {.fd = fd, .events = POLLPRI};
    int64_t start = now_ms();
    SAY(poll(&entry, 1, 2300));
    say_waited(start, 2300);
    put(fd, request, REQUEST);
    say_got(fd, REQUEST + 3);
}
