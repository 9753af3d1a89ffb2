/*
 * A stand-in for a kernel with the Knock patch: knockKernel [-u] LOG NAME COMMAND...
 *
 * Runs the command and answers its setsockopt(IPPROTO_TCP, 26..28) in place of the kernel, as the patch does; all other
 * calls go on to the real kernel. It computes no token and checks none: what is to be seen is who asks for what, when.
 * With -u the kernel has no patch: 26 can't be set (ENOPROTOOPT).
 *
 * LOG gets one JSON object a line, in which NAME tells who called, for each setsockopt(IPPROTO_TCP), connect and listen of
 * a TCP socket, and each bpf. The call waits until its line is written, and several stand-ins may share one log: its lines
 * stand in the order of events.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "which AUDIT_ARCH_ is this?"
#endif

enum { TCP_STEALTH = 26, TCP_STEALTH_INTEGRITY = 27, TCP_STEALTH_INTEGRITY_LEN = 28 };
enum { SECRET_BYTES = 64, LONGEST = 65535, MOST_SOCKETS = 1024 };
/* Before a call is heard: supervisors are slower than the kernel. */
enum { LATENCY_US = 700 };

/* What the patch keeps with a socket. */
static struct stealth {
    uint64_t cookie;
    bool authentication;
    int integrity_length;
} sockets[MOST_SOCKETS];

static bool unpatched;
static const char *name;
static int log_file = -1;

static void die(const char *what)
{
    fprintf(stderr, "knockKernel: %s: %s\n", what, strerror(errno));
    exit(125);
}

/* The notification names a thread, but only a process has a pidfd. */
static pid_t process_of(pid_t thread)
{
    pid_t process = thread;
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/status", thread);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof(line), status))
        sscanf(line, "Tgid: %d", &process);
    if (status)
        fclose(status);
    return process;
}

/* Number of bytes read: fewer than `size` where the address is bad, as copy_from_user would see it. */
static size_t read_memory(pid_t process, uint64_t address, void *into, size_t size)
{
    struct iovec here = {.iov_base = into, .iov_len = size};
    struct iovec there = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    ssize_t got = size == 0 ? 0 : process_vm_readv(process, &here, 1, &there, 1, 0);
    return got < 0 ? 0 : (size_t)got;
}

/* SO_COOKIE of a TCP socket of another process; 0 for every other descriptor. */
static uint64_t cookie_of(pid_t process, int fd)
{
    int protocol = 0, domain = 0;
    socklen_t size = sizeof(int), cookie_size = sizeof(uint64_t);
    uint64_t cookie = 0;
    int pidfd = (int)syscall(SYS_pidfd_open, process, 0);
    int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    bool tcp = copy >= 0 && getsockopt(copy, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP &&
               getsockopt(copy, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && (domain == AF_INET || domain == AF_INET6);
    if (tcp && getsockopt(copy, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_size) < 0)
        die("SO_COOKIE");
    if (copy >= 0)
        close(copy);
    if (pidfd >= 0)
        close(pidfd);
    return cookie;
}

static struct stealth *stealth_of(uint64_t cookie)
{
    for (size_t i = 0; i < MOST_SOCKETS; i++) {
        if (sockets[i].cookie == cookie)
            return &sockets[i];
        if (sockets[i].cookie == 0) {
            sockets[i].cookie = cookie;
            return &sockets[i];
        }
    }
    errno = ENOBUFS;
    die("too many sockets");
    return NULL;
}

/* 0 or the errno. */
static int set_stealth(struct stealth *stealth, int option, uint32_t length, const uint8_t *value, size_t readable)
{
    int number = 0;
    if (option == TCP_STEALTH) {
        /* Stricter than the patch, which cuts: a caller that sends more does not know what it sets. */
        if (length > SECRET_BYTES)
            return EINVAL;
        if (readable < length)
            return EFAULT;
        *stealth = (struct stealth){.cookie = stealth->cookie, .authentication = true};
        return 0;
    }
    if (option == TCP_STEALTH_INTEGRITY_LEN && length < sizeof(number))
        return EINVAL;
    if (!stealth->authentication)
        return EOPNOTSUPP;
    if (option == TCP_STEALTH_INTEGRITY)
        return length < 1 || length > LONGEST ? EINVAL : readable < length ? EFAULT : 0;
    if (readable < sizeof(number))
        return EFAULT;
    memcpy(&number, value, sizeof(number));
    if (number < 1 || number > LONGEST)
        return EINVAL;
    stealth->integrity_length = number;
    return 0;
}

/* One write(), so that lines of several stand-ins don't mix. */
static void log_call(pid_t process, const char *call, uint64_t cookie, const char *details, const uint8_t *value, size_t length)
{
    size_t room = 2 * length + 512;
    char *line = malloc(room);
    if (!line)
        die("malloc");
    size_t used = (size_t)snprintf(line, room, "{\"name\":\"%s\",\"pid\":%d,\"call\":\"%s\",\"socket\":\"%" PRIu64 "\"%s,\"value\":\"",
                                   name, process, call, cookie, details);
    for (size_t i = 0; i < length; i++)
        used += (size_t)snprintf(line + used, room - used, "%02x", value[i]);
    used += (size_t)snprintf(line + used, room - used, "\"}\n");
    if (write(log_file, line, used) != (ssize_t)used)
        die("writing the log");
    free(line);
}

/* -1 lets the kernel answer. */
static int judge_option(pid_t process, const struct seccomp_data *data)
{
    static uint8_t value[LONGEST + 1];
    char details[64];
    uint64_t cookie = cookie_of(process, (int)data->args[0]);
    int option = (int)data->args[2], error = -1;
    uint32_t length = (uint32_t)data->args[4];
    if (cookie == 0)
        return -1;
    size_t readable = read_memory(process, data->args[3], value, length < sizeof(value) ? length : sizeof(value));
    if (unpatched)
        error = option == TCP_STEALTH ? ENOPROTOOPT : -1;
    else if (option >= TCP_STEALTH && option <= TCP_STEALTH_INTEGRITY_LEN)
        error = set_stealth(stealth_of(cookie), option, length, value, readable);
    snprintf(details, sizeof(details), ",\"option\":%d,\"length\":%" PRIu32 ",\"errno\":%d", option, length, error);
    log_call(process, "setsockopt", cookie, details, value, readable);
    return error;
}

static void note_connect(pid_t process, const struct seccomp_data *data)
{
    struct sockaddr_in6 address = {0};
    uint64_t cookie = cookie_of(process, (int)data->args[0]);
    size_t size = data->args[2] < sizeof(address) ? (size_t)data->args[2] : sizeof(address);
    size = read_memory(process, data->args[1], &address, size);
    if (cookie != 0)
        log_call(process, address.sin6_family == AF_UNSPEC ? "disconnect" : "connect", cookie, "", (uint8_t *)&address, size);
}

static int judge(const struct seccomp_notif *notification)
{
    const struct seccomp_data *data = &notification->data;
    pid_t process = process_of((pid_t)notification->pid);
    uint64_t cookie;
    switch (data->nr) {
    case SYS_setsockopt:
        return judge_option(process, data);
    case SYS_connect:
        note_connect(process, data);
        return -1;
    case SYS_listen:
        cookie = cookie_of(process, (int)data->args[0]);
        if (cookie != 0)
            log_call(process, "listen", cookie, "", NULL, 0);
        return -1;
    default:
        log_call(process, "bpf", 0, "", NULL, 0);
        return -1;
    }
}

static void answer(int listener)
{
    struct seccomp_notif notification = {0};
    struct seccomp_notif_resp response = {0};
    /* ENOENT: the caller was interrupted before it could be heard. */
    usleep(LATENCY_US);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification) < 0) {
        if (errno == ENOENT || errno == EINTR)
            return;
        die("SECCOMP_IOCTL_NOTIF_RECV");
    }
    int error = judge(&notification);
    response.id = notification.id;
    if (error < 0)
        response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else
        response.error = -error;
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) < 0 && errno != ENOENT)
        die("SECCOMP_IOCTL_NOTIF_SEND");
}

static int install_filter(void)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 6, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_listen, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
    struct sock_fprog program = {.len = sizeof(steps) / sizeof(*steps), .filter = steps};
    /* Once heard, a call can't be interrupted by a signal, made again and be logged twice. */
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* The child's descriptor comes to the parent by pidfd_getfd, not in a message: nothing may call what is watched. */
static int fetch_listener(pid_t child, int pipe_end)
{
    int number = -1;
    if (read(pipe_end, &number, sizeof(number)) != sizeof(number)) {
        errno = EPROTO;
        die("the filter was not installed");
    }
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    int listener = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (listener < 0)
        die("pidfd_getfd");
    close(pidfd);
    return listener;
}

static void run_child(char **command, int to_parent, int from_parent, const sigset_t *before)
{
    char go;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int listener = install_filter();
    if (listener < 0)
        die("seccomp");
    if (write(to_parent, &listener, sizeof(listener)) != sizeof(listener) || read(from_parent, &go, 1) != 1)
        _exit(125);
    close(listener);
    sigprocmask(SIG_SETMASK, before, NULL);
    execvp(command[0], command);
    die(command[0]);
}

/* The exit status of the command, once it has ended. */
static int serve(pid_t child, int listener, int signals)
{
    for (;;) {
        struct pollfd watched[] = {{.fd = listener, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        struct signalfd_siginfo signal;
        int status;
        if (poll(watched, 2, -1) < 0 && errno != EINTR)
            die("poll");
        if (watched[0].revents & POLLIN)
            answer(listener);
        if (!(watched[1].revents & POLLIN) || read(signals, &signal, sizeof(signal)) != sizeof(signal))
            continue;
        if (signal.ssi_signo != SIGCHLD)
            kill(child, (int)signal.ssi_signo);
        else if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

int main(int argc, char **argv)
{
    int from_child[2], to_child[2];
    sigset_t watched, before;
    unpatched = argc > 1 && strcmp(argv[1], "-u") == 0;
    char **arguments = argv + 1 + unpatched;
    if (argc - unpatched < 4) {
        fprintf(stderr, "usage: %s [-u] LOG NAME COMMAND...\n", argv[0]);
        return 125;
    }
    log_file = open(arguments[0], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_file < 0)
        die(arguments[0]);
    name = arguments[1];
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGINT);
    sigprocmask(SIG_BLOCK, &watched, &before);
    if (pipe2(from_child, O_CLOEXEC) < 0 || pipe2(to_child, O_CLOEXEC) < 0)
        die("pipe2");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0)
        run_child(arguments + 2, from_child[1], to_child[0], &before);
    close(from_child[1]);
    int listener = fetch_listener(child, from_child[0]);
    int signals = signalfd(-1, &watched, SFD_CLOEXEC);
    if (signals < 0 || write(to_child[1], "", 1) != 1)
        die("signalfd");
    return serve(child, listener, signals);
}
