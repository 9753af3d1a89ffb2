#define _GNU_SOURCE
#include "log.h"

#include "environment.h"
#include "generated/originals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static _Atomic unsigned int known_level = LOG_UNKNOWN;
static dev_t stderr_device;
static ino_t stderr_inode;
static _Atomic bool stderr_moved = true; // to where it is at the first look

static bool same_place(const struct stat *status)
{
    if (atomic_exchange(&stderr_moved, false)) {
        stderr_device = status->st_dev;
        stderr_inode = status->st_ino;
    }
    return status->st_dev == stderr_device && status->st_ino == stderr_inode;
}

// A service of inetd has its client at number 2.
static bool leads_outside(const struct stat *status)
{
    int domain = AF_UNSPEC;
    socklen_t size = sizeof(domain);
    return S_ISSOCK(status->st_mode) &&
           (original_getsockopt(STDERR_FILENO, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX);
}

// A daemon that closed its standard descriptors may have a connection, a terminal or a database there.
static bool stderr_usable(void)
{
    struct stat status;
    return fstat(STDERR_FILENO, &status) == 0 && same_place(&status) && !leads_outside(&status);
}

__attribute__((constructor)) static void remember_stderr(void)
{
    stderr_usable();
    atomic_store(&stderr_moved, false);
}

void log_descriptor_replaced(int fd, bool deliberately)
{
    if (fd == STDERR_FILENO)
        atomic_store(&stderr_moved, deliberately);
}

void log_set_level(unsigned int level)
{
    atomic_store(&known_level, level);
}

static unsigned int current_level(void)
{
    unsigned int level = atomic_load(&known_level);
    if (level != LOG_UNKNOWN)
        return level;
    const char *text = environment("KNOCK_LOGLVL");
    return text && text[0] >= '0' && text[0] <= '3' && text[1] == '\0' ? (unsigned int)(text[0] - '0') : LOG_ERRORS;
}

// A broken pipe at the other end is no reason to end the program with SIGPIPE.
static void write_quietly(const char *line, size_t length)
{
    static const struct timespec at_once;
    sigset_t pipe, before, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    if (original_write(STDERR_FILENO, line, length) < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char name[] = "knockify: ";
    int error = errno;
    char line[1024];
    if (level <= current_level() && stderr_usable()) {
        memcpy(line, name, sizeof(name) - 1);
        va_list list;
        va_start(list, format);
        int length = vsnprintf(line + sizeof(name) - 1, sizeof(line) - sizeof(name), format, list);
        va_end(list);
        size_t room = sizeof(line) - sizeof(name) - 1;
        size_t end = sizeof(name) - 1 + (length < 0 ? 0 : (size_t)length > room ? room : (size_t)length);
        line[end++] = '\n';
        write_quietly(line, end);
    }
    errno = error;
}
