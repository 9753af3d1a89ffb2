// Copies, children, exec, passing on, and closing of a connection's descriptor.
#include "transcript.h"

#include <dirent.h>
#include <sys/resource.h>

static int open_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 3; // . and .. and the directory itself
}

CASE(copies, "dup, dup2, dup3 and fcntl; written through one, read through another")
{
    int fd = connected_to(ECHO, 0);
    SAY(dup(fd));
    SAY(dup2(fd, 20));
    SAY(dup3(fd, 21, O_CLOEXEC));
    SAY(fcntl(fd, F_DUPFD, 30));
    SAY(fcntl(fd, F_DUPFD_CLOEXEC, 30));
    SAY(dup2(fd, fd));
    SAY(dup3(fd, fd, 0));
    SAY(dup2(fd, -1));
    SAY(dup2(99, 40));
    SAY(dup(-1));
    SAY(fcntl(21, F_GETFD));
    SAY(close(fd));
    put(20, request, 10);
    SAY(close(20));
    put(30, request + 10, REQUEST - 10);
    say_got(21, REQUEST);
    SAY(dup2(1, 30));
    SAY(write(30, "a line\n", 7));
}

CASE(copy_before, "dup before connect; written through the copy")
{
    int fd = tcp(0), copy = dup(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    put(copy, request, REQUEST);
    say_got(copy, REQUEST);
}

static void say_peer(int fd)
{
    struct sockaddr_in peer = {0};
    socklen_t size = sizeof(peer);
    SAY(getpeername(fd, (struct sockaddr *)&peer, &size));
    printf("peer: %s, port +%d\n", inet_ntoa(peer.sin_addr), peer.sin_port ? ntohs(peer.sin_port) - first_port : -1);
}

CASE(copies_before, "copies of every kind before connect; asked, written in pieces through all of them, read")
{
    int fd = tcp(0), copy = dup(fd), moved = dup2(fd, 20), last = fcntl(copy, F_DUPFD_CLOEXEC, 30);
    SAY(connect_to(copy, SERVER, ECHO));
    say_peer(moved);
    SAY(connect_to(last, SERVER, ECHO));
    say_events("writable", (unsigned int)wait_for(moved, POLLIN | POLLOUT) & POLLOUT);
    put(fd, request, 5);
    put(moved, request + 5, 5);
    SAY(close(fd));
    SAY(close(moved));
    put(last, request + 10, REQUEST - 10);
    say_got(copy, REQUEST);
    say_peer(last);
    exchange(last);
}

CASE(copy_ended, "shutdown through a copy made before connect, with few bytes written through the other")
{
    int fd = tcp(0), copy = dup(fd);
    SAY(connect_to(fd, SERVER, DIGEST));
    SAY(write(fd, "few", 3));
    if (SAY(shutdown(copy, SHUT_WR)) == 0)
        say_got(copy, 100);
}

CASE(copy_before_refused, "dup before a connect that is refused; told through the copy, which then connects")
{
    int first = tcp(0), copy = dup(first), fd = first;
    bool delayed = SAY(connect_to(fd, SERVER, CLOSED)) == 0;
    fd = copy;
    if (delayed)
        SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    say_peer(fd);
    SAY(connect_to(fd, SERVER, ECHO));
    put(first, request, REQUEST);
    say_got(fd, REQUEST);
}

CASE(fork_before, "a child that has the socket from before connect writes and reads")
{
    int fd = tcp(0), go[2];
    SAY(pipe(go));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        say_peer(fd);
        put(fd, request, REQUEST);
        say_got(fd, 10);
        fflush(stdout);
        _exit(7);
    }
    SAY(connect_to(fd, SERVER, ECHO));
    if (write(go[1], "x", 1) != 1)
        printf("the pipe is closed\n");
    printf("child: %d\n", wait_child(child));
    say_got(fd, REQUEST - 10);
    exchange(fd);
}

CASE(fork_shared, "a child writes on a connection of its parent, and both read")
{
    int fd = connected_to(ECHO, 0);
    put(fd, request, 5);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        put(fd, request + 5, REQUEST - 5);
        say_got(fd, 10);
        fflush(stdout);
        _exit(7);
    }
    printf("child: %d\n", wait_child(child));
    say_got(fd, REQUEST - 10);
    put(fd, request, REQUEST);
    say_got(fd, REQUEST);
}

CASE(fork_closed, "parent and child close their copies; the other goes on")
{
    int fd = connected_to(ECHO, 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fd);
        _exit(0);
    }
    wait_child(child);
    exchange(fd);
    int other = connected_to(ECHO, 0);
    fflush(stdout);
    int gate[2];
    char nothing;
    if (pipe(gate) < 0)
        return;
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(gate[1]);
        if (read(gate[0], &nothing, 1) == 0)
            exchange(other);
        _exit(3);
    }
    SAY(close(other));
    close(gate[1]);
    printf("child: %d\n", wait_child(child));
}

static void become(int fd, const char *what)
{
    char port[12], number[12], *arguments[] = {"descriptors", (char *)what, port, number, NULL};
    snprintf(port, sizeof(port), "%d", first_port);
    snprintf(number, sizeof(number), "%d", fd);
    setenv("CONFORMANCE_FD", number, 1);
    execv("/proc/self/exe", arguments);
    printf("execv fails\n");
}

CASE(after_exec, "(run by the next ones) what an executed program finds")
{
    const char *number = getenv("CONFORMANCE_FD");
    if (!number)
        return;
    int fd = atoi(number);
    printf("open: %d\n", fcntl(fd, F_GETFD) >= 0);
    if (fcntl(fd, F_GETFD) >= 0)
        exchange(fd);
}

CASE(exec_kept, "exec without CLOEXEC: the new program has the connection")
{
    become(connected_to(ECHO, 0), "after_exec");
}

CASE(exec_used, "exec after data was exchanged")
{
    int fd = connected_to(ECHO, 0);
    exchange(fd);
    become(fd, "after_exec");
}

CASE(exec_begun, "exec after five bytes were written")
{
    int fd = connected_to(ECHO, 0);
    put(fd, request, 5);
    become(fd, "after_exec");
}

CASE(exec_closed, "exec with CLOEXEC")
{
    become(connected_to(ECHO, SOCK_CLOEXEC), "after_exec");
}

CASE(exec_pending, "exec with a non-blocking connect under way")
{
    become(connected_to(ECHO, SOCK_NONBLOCK), "after_exec");
}

CASE(closed_ranges, "close_range, CLOSE_RANGE_CLOEXEC, closefrom; descriptors are the lowest again")
{
    int fd = connected_to(ECHO, 0), other = dup(fd), last = dup(fd);
    printf("descriptors %d %d %d\n", fd, other, last);
    SAY(close_range(4, 4, 0));
    SAY(write(other, "x", 1));
    SAY(close_range(5, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */));
    SAY(fcntl(last, F_GETFD));
    exchange(last);
    SAY(close_range(9, 8, 0));
    SAY(close_range(3, 8, 99));
    closefrom(3);
    SAY(write(last, "x", 1));
    fd = connected_to(ECHO, 0);
    printf("descriptor %d\n", fd);
    exchange(fd);
}

CASE(daemon_closes_all, "every number closed in a loop, as daemons do, in the middle of it all; then a new connection")
{
    int fd = connected_to(ECHO, 0);
    exchange(fd);
    int pending = connected_to(ECHO, 0);
    (void)pending;
    for (int i = 3; i < 70000; i++)
        close(i);
    fd = connected_to(ECHO, 0);
    printf("descriptor %d\n", fd);
    exchange(fd);
    printf("open: %d\n", open_descriptors());
}

CASE(without_standard, "0, 1 and 2 closed: no line of the library gets into the connection")
{
    int out = fcntl(1, F_DUPFD, 50);
    fflush(stdout);
    close(0);
    close(1);
    close(2);
    int fd = connected_to(ECHO, 0), two = connected_to(ECHO, 0), three = connected_to(ECHO, 0);
    put(fd, request, REQUEST);
    put(two, request, 3);
    put(three, request, 3);
    close(three); // with bytes gathered: that would be a line on descriptor 2
    char answer[REQUEST] = "";
    long got = recv(fd, answer, REQUEST, MSG_WAITALL);
    put(two, request + 3, REQUEST - 3);
    got += recv(two, answer, REQUEST, MSG_WAITALL);
    dup2(out, 1);
    printf("descriptors %d %d %d, got %ld\n", fd, two, three, got);
}

CASE(standard_reused, "2 closed and reused by a Unix socket, a pipe and a file: no line of the library gets there")
{
    int pair[2], ends[2], fd = connected_to(ECHO, 0);
    char text[200];
    put(fd, request, 3);
    int copy = dup(fd);
    close(2);
    SAY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    SAY(close(fd));
    SAY(close(copy)); // with bytes gathered: that would be a line
    printf("descriptor 2: %d, got %ld\n", pair[0] == 2, (long)recv(pair[1], text, sizeof(text), MSG_DONTWAIT));
    close(2);
    SAY(pipe2(ends, O_NONBLOCK));
    put(fd = connected_to(ECHO, 0), request, 3);
    SAY(close(fd));
    printf("descriptor 2: %d, got %ld\n", ends[0] == 2 || ends[1] == 2, (long)read(ends[0], text, sizeof(text)));
    close(2);
    int file = open("/dev/shm", O_TMPFILE | O_RDWR | O_APPEND, 0600);
    put(fd = connected_to(ECHO, 0), request, 3);
    SAY(close(fd));
    printf("descriptor 2: %d, size %ld\n", file == 2, (long)lseek(file, 0, SEEK_END));
}

CASE(standard_connected, "stderr is a connection, as of a service of inetd: nobody there hears of the library")
{
    int fd = connected_to(DIGEST, 0);
    exchange(connected_to(ECHO, 0));
    put(fd, request, REQUEST);
    SAY(dup2(fd, 2));
    int few = connected_to(ECHO, 0);
    put(few, request, 3);
    SAY(close(few));
    close(2);
    finish(fd);
}

CASE(standard_moved, "stderr moved to a pipe by dup2, and to a file by freopen: the library's lines go there")
{
    int ends[2], fd = connected_to(ECHO, 0);
    char text[400], name[] = "/dev/shm/conformance-XXXXXX";
    SAY(pipe2(ends, O_NONBLOCK));
    SAY(dup2(ends[1], 2));
    put(fd, request, 3);
    SAY(close(fd));
    printf("lines: %d\n", read(ends[0], text, sizeof(text)) > 0);
    close(mkstemp(name));
    SAY(freopen(name, "w+", stderr) == stderr);
    unlink(name);
    put(fd = connected_to(ECHO, 0), request, 3);
    SAY(close(fd));
    printf("lines: %d\n", pread(2, text, sizeof(text), 0) > 0);
}

CASE(passed_used, "SCM_RIGHTS: a connection in use, out and in again")
{
    int fd = connected_to(ECHO, 0);
    exchange(fd);
    exchange(pass_on(fd));
}

CASE(passed_fresh, "SCM_RIGHTS: a connection on which nothing was written")
{
    exchange(pass_on(connected_to(ECHO, 0)));
}

CASE(passed_by_recvmmsg, "SCM_RIGHTS by recvmmsg: the same")
{
    exchange(pass_on_by(connected_to(ECHO, 0), true));
}

CASE(passed_begun, "SCM_RIGHTS: a connection on which five bytes were written; who is there, and the rest")
{
    int fd = connected_to(ECHO, 0);
    put(fd, request, 5);
    fd = pass_on(fd);
    say_peer(fd);
    put(fd, request + 5, REQUEST - 5);
    say_got(fd, REQUEST);
}

CASE(passed_begun_ended, "the same, and shutdown in the place of the rest")
{
    int fd = connected_to(DIGEST, 0);
    put(fd, "few", 3);
    fd = pass_on(fd);
    if (SAY(shutdown(fd, SHUT_WR)) == 0)
        say_got(fd, 100);
}

CASE(passed_copy, "SCM_RIGHTS before connect: the original connects, what was received writes")
{
    int fd = tcp(0), copy = pass_on(dup(fd));
    SAY(connect_to(fd, SERVER, ECHO));
    put(copy, request, REQUEST);
    say_got(fd, REQUEST);
}

CASE(passed_unconnected, "SCM_RIGHTS: a socket that is connected by the one who gets it")
{
    int fd = pass_on(tcp(0));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
}

static void *connect_often(void *bad)
{
    for (int i = 0; i < 40; i++) {
        int fd = tcp(0);
        char answer[REQUEST] = "";
        if (connect_to(fd, SERVER, ECHO) < 0 || send(fd, request, REQUEST, MSG_NOSIGNAL) != REQUEST ||
            recv(fd, answer, REQUEST, MSG_WAITALL) != REQUEST || memcmp(answer, request, REQUEST) != 0)
            __atomic_fetch_add((int *)bad, 1, __ATOMIC_RELAXED);
        close(fd);
    }
    return NULL;
}

static void *open_often(void *bad)
{
    for (int i = 0; i < 2000; i++) {
        int ends[2];
        char text[5] = "";
        if (pipe(ends) < 0)
            continue;
        if (write(ends[1], "four", 4) != 4 || read(ends[0], text, 4) != 4 || strcmp(text, "four") != 0)
            __atomic_fetch_add((int *)bad, 1, __ATOMIC_RELAXED);
        close(ends[0]);
        close(ends[1]);
    }
    return NULL;
}

CASE(numbers_reused, "threads that connect and close, others that open pipes under the numbers just freed")
{
    pthread_t threads[5];
    int bad = 0;
    for (int i = 0; i < 5; i++)
        pthread_create(&threads[i], NULL, i < 3 ? connect_often : open_often, &bad);
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    printf("went wrong: %d, open: %d\n", bad, open_descriptors());
}

CASE(a_million, "RLIMIT_NOFILE raised as far as it goes, up to a million, and a connection near the top")
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 1 << 20 ? limit.rlim_max : 1 << 20;
    SAY(setrlimit(RLIMIT_NOFILE, &limit));
    int fd = tcp(0), top = (int)limit.rlim_cur - 1;
    printf("at the top: %d\n", dup2(fd, top) == top);
    SAY(connect_to(top, SERVER, ECHO));
    exchange(top);
    int64_t start = now_ms();
    SAY(close_range(3, ~0U, 0));
    say_waited(start, 0);
}

CASE(no_descriptor_left, "at the limit of open descriptors")
{
    struct rlimit limit = {8, 8};
    SAY(setrlimit(RLIMIT_NOFILE, &limit));
    int fd = tcp(0);
    while (dup(1) >= 0)
        continue;
    SAY(connect_to(fd, SERVER, ECHO));
    SAY(close(7));
    SAY(connect_to(fd, SERVER, ECHO));
    exchange(fd);
}

CASE(counted, "no descriptor more than before, after 30 connections of all kinds")
{
    int before = open_descriptors();
    for (int i = 0; i < 30; i++) {
        int fd = tcp(i % 2 ? SOCK_NONBLOCK : 0);
        connect_to(fd, i % 5 ? SERVER : NO_HOST, i % 3 ? ECHO : CLOSED);
        send(fd, request, i % 7 ? REQUEST : 3, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
    }
    printf("more: %d\n", open_descriptors() - before);
}

CASE(memory, "the same again and again for the leak checkers")
{
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 15; i++) {
        int fd = tcp(0), refused = connect_to(fd, SERVER, i % 3 ? ECHO : CLOSED), copy = dup(fd);
        if (refused == 0)
            send(copy, request, REQUEST, MSG_NOSIGNAL);
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        poll(&entry, 1, 300);
        close(fd);
        FILE *file = fdopen(copy, "w");
        fputs("more", file);
        fclose(file);
        FILE *early = fdopen(tcp(0), "r+");
        connect_to(fileno(early), SERVER, ECHO);
        fputs(request, early);
        fclose(early);
    }
}
