// The first bytes of a connection, by every call that writes.
#include "transcript.h"

#include <limits.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

CASE(by_send, "send")
{
    int fd = connected_to(DIGEST, 0);
    SAY(send(fd, request, REQUEST, 0));
    finish(fd);
}

CASE(by_sendto, "sendto, without and with an address")
{
    int fd = connected_to(DIGEST, 0);
    struct sockaddr_in peer = to(SERVER, DIGEST);
    SAY(sendto(fd, request, REQUEST, 0, NULL, 0));
    SAY(sendto(fd, request, REQUEST, 0, (struct sockaddr *)&peer, sizeof(peer)));
    finish(fd);
    fd = connected_to(DIGEST, 0);
    SAY(sendto(fd, request, REQUEST, 0, (struct sockaddr *)&peer, sizeof(peer)));
    finish(fd);
}

static ssize_t send_vector(int fd, int flags, size_t first)
{
    struct iovec parts[3] = {{(char *)request, first}, {(char *)request + first, 0}, {(char *)request + first, REQUEST - first}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    return sendmsg(fd, &message, flags);
}

CASE(by_sendmsg, "sendmsg with a short, an empty and a long part")
{
    int fd = connected_to(DIGEST, 0);
    SAY(send_vector(fd, 0, 5));
    SAY(send_vector(fd, 0, 40));
    finish(fd);
}

CASE(by_sendmmsg, "sendmmsg: three messages, each shorter than what is protected")
{
    int fd = connected_to(DIGEST, 0);
    struct iovec parts[3] = {{(char *)request, 10}, {(char *)request + 10, 10}, {(char *)request + 20, 20}};
    struct mmsghdr batch[3] = {0};
    for (int i = 0; i < 3; i++)
        batch[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    SAY(sendmmsg(fd, batch, 3, 0));
    printf("lengths: %u %u %u\n", batch[0].msg_len, batch[1].msg_len, batch[2].msg_len);
    finish(fd);
}

CASE(error_queue, "the error queue, before the first write and after it, with MSG_ZEROCOPY")
{
    int fd = connected_to(DIGEST, 0), on = 1;
    char bytes[64];
    struct pollfd told = {.fd = fd};
    SAY(recv(fd, bytes, sizeof(bytes), MSG_ERRQUEUE));
    SAY(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)));
    SAY(send(fd, request, REQUEST, MSG_ZEROCOPY));
    SAY(poll(&told, 1, 5000));
    SAY(recv(fd, bytes, sizeof(bytes), MSG_ERRQUEUE));
    finish(fd);
}

CASE(by_write, "write")
{
    int fd = connected_to(DIGEST, 0);
    SAY(write(fd, request, REQUEST));
    finish(fd);
}

CASE(by_writev, "writev")
{
    int fd = connected_to(DIGEST, 0);
    struct iovec parts[2] = {{(char *)request, 7}, {(char *)request + 7, REQUEST - 7}};
    SAY(writev(fd, parts, 2));
    finish(fd);
}

CASE(by_pwritev2, "pwritev2 at offset -1, which is writev with flags")
{
    int fd = connected_to(DIGEST, 0);
    struct iovec parts[2] = {{(char *)request, 7}, {(char *)request + 7, REQUEST - 7}};
    SAY(pwritev2(fd, parts, 2, 0, 0));
    SAY(pwritev2(fd, parts, 2, -1, 0));
    finish(fd);
}

static int file_with(const void *data, size_t length)
{
    char name[] = "/tmp/conformance-XXXXXX";
    int file = mkstemp(name);
    unlink(name);
    if (pwrite(file, data, length, 0) < 0)
        printf("pwrite failed\n");
    return file;
}

CASE(after_sendfile, "sendfile after the first bytes")
{
    int file = file_with(request, REQUEST), fd = connected_to(DIGEST, 0);
    SAY(send(fd, request, REQUEST, 0));
    SAY(sendfile(fd, file, NULL, REQUEST));
    finish(fd);
}

CASE(by_sendfile, "sendfile")
{
    int file = file_with(request, REQUEST), fd = connected_to(DIGEST, 0);
    off_t offset = 4;
    long sent = SAY(sendfile(fd, file, &offset, REQUEST));
    printf("offset %ld\n", (long)offset);
    if (sent < 0)
        return;
    SAY(sendfile(fd, file, NULL, REQUEST));
    finish(fd);
}

CASE(header_then_sendfile, "a header that is shorter than what is protected, then sendfile")
{
    int file = file_with(request, REQUEST), fd = connected_to(DIGEST, 0);
    SAY(send(fd, "header: ", 8, MSG_MORE));
    if (SAY(sendfile(fd, file, NULL, REQUEST)) > 0)
        finish(fd);
}

CASE(by_splice, "splice from a pipe")
{
    int ends[2], fd = connected_to(DIGEST, 0);
    SAY(pipe(ends));
    SAY(write(ends[1], request, REQUEST));
    if (SAY(splice(ends[0], NULL, fd, NULL, REQUEST, SPLICE_F_MOVE)) > 0)
        finish(fd);
}

CASE(by_stdio, "fdopen, fprintf and fclose")
{
    FILE *file = fdopen(connected_to(DIGEST, 0), "r+");
    SAY(fprintf(file, "%s", request));
    if (SAY(fflush(file)) < 0)
        return;
    int fd = dup(fileno(file));
    SAY(fclose(file));
    finish(fd);
}

CASE(stdio_both_ways, "a stream in pieces: putc, fputs and fwrite, unbuffered and not; read by fgets; seeks; at the end of the program")
{
    char line[100] = "";
    FILE *file = fdopen(connected_to(ECHO, 0), "r+");
    SAY(fputs("five ", file));
    SAY(fflush(file));
    SAY(fseek(file, 0, SEEK_SET));
    SAY(setvbuf(file, NULL, _IONBF, 0));
    for (const char *next = request; *next; next++)
        putc(*next, file);
    printf("line: %s", fgets(line, sizeof(line), file));
    SAY(ferror(file));
    SAY((long)fwrite(request, 1, REQUEST, file));
    printf("line: %s", fgets(line, sizeof(line), file));
    FILE *wrong = fdopen(fileno(file), "z");
    printf("wrong mode: %s, closed: %s\n", wrong ? "taken" : strerrorname_np(errno), fdopen(777, "r") ? "taken" : strerrorname_np(errno));
    FILE *other = fdopen(connected_to(ECHO, 0), "w");
    fputs(request, other); // flushed at the end
}

CASE(stdio_before, "streams that were made before connect")
{
    char line[100] = "";
    int fd = tcp(0);
    FILE *out = fdopen(dup(fd), "w"), *in = fdopen(fd, "r");
    SAY(connect_to(fileno(out), SERVER, ECHO));
    SAY(fputs(request, out));
    SAY(fclose(out));
    printf("line: %s", fgets(line, sizeof(line), in));
    SAY(fclose(in));
    SAY(fcntl(fd, F_GETFD));
}

CASE(stdio_refused, "a stream to a closed port: the first flush says it, or connect did")
{
    int fd = tcp(0);
    if (connect_to(fd, SERVER, CLOSED) < 0) {
        printf("refused: %s\n", strerrorname_np(errno));
        return;
    }
    FILE *file = fdopen(fd, "w");
    fputs(request, file);
    if (fflush(file) < 0)
        printf("refused: %s\n", strerrorname_np(errno));
}

CASE(by_dprintf, "dprintf, short and long")
{
    static char many[3000];
    memset(many, 'm', sizeof(many) - 1);
    int fd = connected_to(DIGEST, 0);
    if (SAY(dprintf(fd, "%s", request)) > 0)
        finish(fd);
    fd = connected_to(DIGEST, 0);
    SAY(dprintf(fd, "%d", 12345));
    SAY(dprintf(fd, "%s %d\n", many, 7));
    finish(fd);
}

CASE(more, "MSG_MORE on short pieces")
{
    int fd = connected_to(DIGEST, 0);
    SAY(send(fd, request, 10, MSG_MORE));
    SAY(send(fd, request + 10, 10, MSG_MORE));
    SAY(send(fd, request + 20, REQUEST - 20, MSG_MORE));
    SAY(send(fd, "", 0, 0));
    finish(fd);
}

CASE(dont_wait, "MSG_DONTWAIT on a blocking socket, until it takes the bytes")
{
    int fd = connected_to(DIGEST, 0), tries = 0;
    while (send(fd, request, REQUEST, MSG_DONTWAIT) < 0 && errno == EAGAIN && tries++ < 100)
        wait_for(fd, POLLOUT);
    printf("taken: %s\n", tries < 100 ? "yes" : "never");
    printf("blocking: %d\n", !(fcntl(fd, F_GETFL) & O_NONBLOCK));
    finish(fd);
}

CASE(no_signal, "MSG_NOSIGNAL, and SIGPIPE without it, once the peer has reset")
{
    int fd = connected_to(RESET, 0);
    signal(SIGPIPE, SIG_IGN);
    SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    wait_for(fd, POLLIN);
    SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    signal(SIGPIPE, SIG_DFL);
    fflush(stdout);
    send(fd, request, REQUEST, 0);
    printf("no SIGPIPE\n");
}

CASE(wrong_flags, "MSG_OOB, MSG_CONFIRM, no bytes, too many parts")
{
    int fd = connected_to(DIGEST, 0);
    struct iovec parts[1] = {{(char *)request, REQUEST}};
    static struct iovec many[IOV_MAX + 1];
    SAY(send(fd, request, 0, 0));
    SAY(write(fd, request, 0));
    SAY(writev(fd, parts, 0));
    SAY(writev(fd, parts, -1));
    SAY(writev(fd, many, IOV_MAX + 1));
    SAY(sendmsg(fd, NULL, 0));
    SAY(send(fd, request, REQUEST, MSG_CONFIRM));
    finish(fd);
}

CASE(too_many_parts, "sendmsg with more parts than IOV_MAX")
{
    int fd = connected_to(DIGEST, 0);
    static struct iovec many[IOV_MAX + 1];
    struct msghdr message = {.msg_iov = many, .msg_iovlen = IOV_MAX + 1};
    SAY(sendmsg(fd, &message, 0));
}

CASE(no_buffer, "send from address 0")
{
    int fd = connected_to(DIGEST, 0);
    SAY(send(fd, NULL, 5, 0));
    SAY(send(fd, request, REQUEST, 0));
    finish(fd);
}

CASE(bad_pointers, "messages, vectors and buffers that are nowhere")
{
    int fd = connected_to(DIGEST, 0);
    struct iovec nothing = {no_memory(), 5}, good = {(char *)request, REQUEST};
    struct msghdr no_parts = {.msg_iov = no_memory(), .msg_iovlen = 2}, no_bytes = {.msg_iov = &nothing, .msg_iovlen = 1};
    struct mmsghdr batch[2] = {{.msg_hdr = no_bytes}, {.msg_hdr = {.msg_iov = &good, .msg_iovlen = 1}}};
    SAY(send(fd, no_memory(), 5, 0));
    SAY(write(fd, no_memory(), 5));
    SAY(writev(fd, no_memory(), 2));
    SAY(writev(fd, &nothing, 1));
    SAY(pwritev2(fd, no_memory(), 2, -1, 0));
    SAY(sendmsg(fd, no_memory(), 0));
    SAY(sendmsg(fd, &no_parts, 0));
    SAY(sendmsg(fd, &no_bytes, 0));
    SAY(sendmsg(fd, no_memory(), MSG_FASTOPEN));
    SAY(sendmmsg(fd, no_memory(), 2, 0));
    SAY(sendmmsg(fd, batch, 2, 0));
    SAY(sendmmsg(fd, batch + 1, 1, 0));
    finish(fd);
}

CASE(many_parts, "writev with more parts than the library keeps, each a byte")
{
    int fd = connected_to(DIGEST, 0);
    struct iovec parts[REQUEST];
    static struct iovec hundreds[500];
    for (int i = 0; i < REQUEST; i++)
        parts[i] = (struct iovec){(char *)request + i, 1};
    for (int i = 0; i < 500; i++)
        hundreds[i] = (struct iovec){(char *)request + i % REQUEST, 1};
    SAY(writev(fd, parts, REQUEST));
    finish(fd);
    fd = connected_to(DIGEST, 0);
    SAY(send(fd, "abc", 3, 0));
    SAY(writev(fd, hundreds, 500));
    finish(fd);
}

CASE(no_delay, "TCP_NODELAY and 200 writes of one byte")
{
    int fd = connected_to(DIGEST, 0), on = 1;
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
    for (int i = 0; i < 200; i++)
        if (write(fd, request + i % REQUEST, 1) != 1)
            printf("write fails %s\n", strerrorname_np(errno));
    finish(fd);
}

CASE(corked, "TCP_CORK around short writes")
{
    int fd = connected_to(DIGEST, 0), on = 1, off = 0;
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
    SAY(write(fd, request, 6));
    SAY(write(fd, request + 6, REQUEST - 6));
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
    finish(fd);
}

CASE(exactly, "exactly the protected bytes, in one write and in two")
{
    int fd = connected_to(DIGEST, 0);
    SAY(write(fd, request, 24));
    finish(fd);
    fd = connected_to(DIGEST, 0);
    SAY(write(fd, request, 23));
    SAY(write(fd, request + 23, 1));
    finish(fd);
}

static char mass[1 << 20];

CASE(much, "a megabyte at once, blocking, to a reader that is slow to begin")
{
    memset(mass, 'm', sizeof(mass));
    int fd = connected_to(SLOW, 0);
    SAY(write(fd, mass, sizeof(mass)));
    finish(fd);
}

CASE(partial, "a non-blocking megabyte: partial writes, EAGAIN, and every byte in the end")
{
    memset(mass, 'p', sizeof(mass));
    int fd = connected_to(SLOW, SOCK_NONBLOCK);
    size_t done = 0;
    bool partial = false, again = false;
    while (done < sizeof(mass)) {
        wait_for(fd, POLLOUT);
        ssize_t sent = write(fd, mass + done, sizeof(mass) - done);
        partial |= sent > 0 && (size_t)sent < sizeof(mass) - done;
        if (sent < 0 && errno != EAGAIN)
            printf("write fails %s\n", strerrorname_np(errno));
        again |= sent < 0 && errno == EAGAIN;
        if (sent < 0 && errno != EAGAIN)
            break;
        done += sent > 0 ? (size_t)sent : 0;
        if (done < sizeof(mass) && write(fd, mass + done, 0) != 0)
            printf("an empty write fails\n");
    }
    printf("partial writes: %d\n", partial);
    finish(fd);
}

CASE(fast_open, "sendto and sendmsg with MSG_FASTOPEN on a fresh socket")
{
    struct sockaddr_in peer = to(SERVER, DIGEST);
    int fd = tcp(0);
    SAY(sendto(fd, request, REQUEST, MSG_FASTOPEN, (struct sockaddr *)&peer, sizeof(peer)));
    finish(fd);
    fd = tcp(0);
    struct iovec part = {(char *)request, REQUEST};
    struct msghdr message = {.msg_name = &peer, .msg_namelen = sizeof(peer), .msg_iov = &part, .msg_iovlen = 1};
    SAY(sendmsg(fd, &message, MSG_FASTOPEN));
    finish(fd);
}

CASE(fast_open_refused, "MSG_FASTOPEN to a closed port")
{
    struct sockaddr_in peer = to(SERVER, CLOSED);
    int fd = tcp(0);
    SAY(sendto(fd, request, REQUEST, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&peer, sizeof(peer)));
    say_error(fd);
}

CASE(fast_open_option, "the program's own TCP_FASTOPEN_CONNECT")
{
    int fd = tcp(0), on = 1;
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
    SAY(connect_to(fd, SERVER, DIGEST));
    SAY(write(fd, request, REQUEST));
    socklen_t size = sizeof(on);
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, &size));
    printf("still set: %d\n", on);
    finish(fd);
}

CASE(few_then_shutdown, "shutdown with a few bytes written: delivered, or the error says not")
{
    int fd = connected_to(DIGEST, 0);
    SAY(write(fd, "few", 3));
    if (SAY(shutdown(fd, SHUT_WR)) == 0)
        say_got(fd, 100);
}

CASE(few_then_shutdown_read, "shutdown for reading with a few bytes written, and then the rest")
{
    int fd = connected_to(DIGEST, 0);
    SAY(write(fd, "few", 3));
    SAY(shutdown(fd, SHUT_RD));
    SAY(write(fd, request, REQUEST));
    SAY(shutdown(fd, SHUT_WR));
}

CASE(few_then_close, "close with a few bytes written; stderr says that they are lost")
{
    int fd = connected_to(DIGEST, 0);
    SAY(write(fd, "few", 3));
    SAY(close(fd));
}

CASE(unconnected, "writes on a socket that never was connected")
{
    int fd = tcp(0);
    signal(SIGPIPE, SIG_IGN);
    SAY(write(fd, request, REQUEST));
    SAY(send(fd, request, REQUEST, MSG_NOSIGNAL));
    SAY(recv(fd, (char[1]){0}, 1, 0));
    SAY(shutdown(fd, SHUT_RDWR));
}

CASE(peeked, "MSG_PEEK, MSG_WAITALL and FIONREAD on the answer")
{
    int fd = connected_to(ECHO, 0), waiting = -1;
    char text[REQUEST];
    put(fd, request, REQUEST);
    SAY(recv(fd, text, REQUEST, MSG_PEEK | MSG_WAITALL));
    SAY(ioctl(fd, FIONREAD, &waiting));
    printf("waiting: %d\n", waiting);
    SAY(recv(fd, text, 10, 0));
    SAY(recv(fd, text, REQUEST, MSG_DONTWAIT));
    SAY(recv(fd, text, REQUEST, MSG_DONTWAIT));
}

SERVER_FIRST(greeted, "the server speaks first")
{
    int fd = connected_to(GREET, 0);
    say_got(fd, 8);
    put(fd, request, REQUEST);
    finish(fd);
}
