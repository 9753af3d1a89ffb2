// Connects and sends a request from every place where a program may call the C library:
// contexts CONTEXT PORT FILE, to 192.0.2.2. Prints what came back. Compiled with -DCONSTRUCTOR it is a library
// that does so before main().
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char request[] = "GET / HTTP/1.0\r\nHost: lab\r\n\r\n";
static int port;
static int result = 1;

static int open_connection(void)
{
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, "192.0.2.2", &peer.sin_addr);
    if (connect(fd, (struct sockaddr *)&peer, sizeof(peer)) == 0)
        return fd;
    dprintf(2, "connect: %s\n", strerror(errno));
    exit(1);
}

static void say(int fd, const char *text, size_t length)
{
    if (write(fd, text, length) != (ssize_t)length)
        dprintf(2, "write: %s\n", strerror(errno));
}

static void hear(int fd)
{
    char line[13] = "";
    size_t got = 0;
    ssize_t length;
    while (got < 12 && (length = read(fd, line + got, 12 - got)) > 0)
        got += (size_t)length;
    result = strcmp(line + 9, "200") != 0;
    dprintf(1, "%s\n", line + (got == 12 ? 9 : 0));
}

static void whole(void)
{
    int fd = open_connection();
    say(fd, request, sizeof(request) - 1);
    hear(fd);
    close(fd);
}

static void *in_thread(void *unused)
{
    whole();
    return unused;
}

static void in_handler(int signal)
{
    (void)signal;
    whole();
}

static int wait_for(pid_t child)
{
    int status = 1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

// Parent and child share one delayed connect: each writes a part of the protected bytes.
static void shared(void)
{
    int fd = open_connection();
    say(fd, request, 10);
    pid_t child = fork();
    if (child == 0) {
        say(fd, request + 10, sizeof(request) - 11);
        hear(fd);
        _exit(result);
    }
    close(fd);
    result = wait_for(child);
}

static void duplicated(void)
{
    int fd = open_connection(), copy = dup(fd), other = fcntl(copy, F_DUPFD_CLOEXEC, 90);
    say(fd, request, 5);
    close(fd);
    say(copy, request + 5, 5);
    dup2(other, 95);
    close_range((unsigned int)copy, 94, 0);
    say(95, request + 10, sizeof(request) - 11);
    hear(95);
}

// The connect is made through one descriptor; the other, and the child, find it made.
static void twins(void)
{
    int fd = open_connection(), copy = dup(fd);
    pid_t child = fork();
    if (child == 0) {
        say(copy, request, sizeof(request) - 3);
        _exit(0);
    }
    wait_for(child);
    say(fd, request + sizeof(request) - 3, 2);
    hear(copy);
}

// fclose() closes without telling the library; what is written under the number afterwards is a file's.
static void reused(const char *path)
{
    int fd = open_connection();
    fclose(fdopen(fd, "w"));
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dprintf(1, "%s ", file == fd ? "same number" : "another number");
    say(file, "for the file", 12);
    close(file);
    whole();
}

// A child of vfork shares the parent's memory, but not its descriptors.
static void vforked(void)
{
    int fd = open_connection();
    pid_t child = vfork();
    if (child == 0) {
        close_range(3, ~0U, 0);
        _exit(0);
    }
    wait_for(child);
    say(fd, request, sizeof(request) - 1);
    hear(fd);
}

// As servers do: the title is written over the variables, and the workers get an environment of their own.
static void titled(void)
{
    static char *none[] = {NULL};
    for (char **entry = environ; *entry; entry++)
        memset(*entry, 'x', strlen(*entry));
    environ = none;
    whole();
}

#ifdef CONSTRUCTOR
__attribute__((constructor)) static void start(void)
{
    port = atoi(getenv("CONTEXT_PORT"));
    whole();
}
#else
int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    const char *context = argv[1];
    port = atoi(argv[2]);
    if (!strcmp(context, "main"))
        whole();
    else if (!strcmp(context, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, in_thread, NULL);
        pthread_join(thread, NULL);
    } else if (!strcmp(context, "child")) {
        pid_t child = fork();
        if (child == 0) {
            whole();
            _exit(result);
        }
        result = wait_for(child);
    } else if (!strcmp(context, "handler")) {
        signal(SIGUSR1, in_handler);
        raise(SIGUSR1);
    } else if (!strcmp(context, "shared"))
        shared();
    else if (!strcmp(context, "duplicated"))
        duplicated();
    else if (!strcmp(context, "twins"))
        twins();
    else if (!strcmp(context, "reused"))
        reused(argv[3]);
    else if (!strcmp(context, "vforked"))
        vforked();
    else if (!strcmp(context, "titled"))
        titled();
    return result;
}
#endif
