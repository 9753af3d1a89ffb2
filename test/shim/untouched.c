// Uses files, pipes, Unix and UDP sockets, and waits on them. Between the two getppid() calls the system calls are
// compared with and without the library: they must be the same ones, with the same results.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void files(const char *path)
{
    char text[8];
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct iovec parts[2] = {{"ab", 2}, {"cd", 2}};
    write(file, "text", 4);
    writev(file, parts, 2);
    lseek(file, 0, SEEK_SET);
    read(file, text, sizeof(text));
    int copy = dup(file);
    dup2(copy, file);
    fcntl(copy, F_GETFD);
    int another = fcntl(copy, F_DUPFD_CLOEXEC, 50);
    close(another);
    close(copy);
    close(file);
}

static void pipes(void)
{
    int ends[2];
    char byte;
    pipe(ends);
    struct pollfd entry = {.fd = ends[0], .events = POLLIN};
    struct timeval none = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    poll(&entry, 1, 0);
    select(ends[0] + 1, &set, NULL, NULL, &none);
    write(ends[1], "x", 1);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = (void *)0x1234};
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    epoll_wait(epoll, &event, 1, 0);
    read(ends[0], &byte, 1);
    close(epoll);
    close_range((unsigned int)ends[0], (unsigned int)ends[1], 0);
}

static int received = -1;

static void sockets(void)
{
    int pair[2], one = 1;
    char text[4];
    socklen_t size = sizeof(one);
    struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    send(pair[0], "abc", 3, MSG_NOSIGNAL);
    recv(pair[1], text, sizeof(text), 0);
    sendto(pair[0], "abc", 3, 0, NULL, 0);
    struct iovec part = {text, 3};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    recvmsg(pair[1], &message, 0);
    sendmsg(pair[0], &message, 0);
    getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &one, &size);
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
    struct mmsghdr batch = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)}};
    memcpy(CMSG_DATA(&control.head), &pair[0], sizeof(int));
    sendmmsg(pair[0], &batch, 1, 0);
    recvmsg(pair[1], &message, 0);
    recvmmsg(pair[1], &batch, 1, 0, NULL);
    memcpy(&received, CMSG_DATA(&control.head), sizeof(int));
    sendmsg(pair[0], (struct msghdr *)8, 0);
    recvmsg(pair[1], (struct msghdr *)8, MSG_DONTWAIT);
    shutdown(pair[0], SHUT_WR);
    close(pair[0]);
    close(pair[1]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(fd, (struct sockaddr *)&nowhere, sizeof(nowhere));
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    errno = 77;
    getppid();
    files(argv[1]);
    pipes();
    write(-1, "x", 1);
    int bad = errno;
    errno = 77;
    char byte = 0;
    int quiet[2];
    pipe(quiet);
    write(quiet[1], &byte, 1);
    read(quiet[0], &byte, 1);
    close(quiet[0]);
    close(quiet[1]);
    int kept = errno;
    sockets();
    getppid();
    // One look, at the first use, is all that a descriptor costs that came from elsewhere.
    int came = fcntl(received, F_GETFD) >= 0;
    printf("%d %d %d\n", bad == EBADF, kept, came);
    return 0;
}
