// Streams on a delayed connect: the C library writes by calls inside itself, which no other library can take over. So such
// a stream is one of ours, which writes and reads by the overridden calls.
#define _GNU_SOURCE
#include "delayed.h"
#include "descriptors.h"
#include "generated/originals.h"
#include "log.h"
#include "socket.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static int number(void *cookie)
{
    return (int)(intptr_t)cookie;
}

static ssize_t read_stream(void *cookie, char *data, size_t length)
{
    return read(number(cookie), data, length);
}

static ssize_t write_all(int fd, const char *data, size_t length)
{
    size_t written = 0;
    while (written < length) {
        ssize_t result = write(fd, data + written, length - written);
        if (result < 0)
            break;
        written += (size_t)result;
    }
    return (ssize_t)written;
}

// A stream takes a short count for an error, and errno for its reason.
static ssize_t write_stream(void *cookie, const char *data, size_t length)
{
    return write_all(number(cookie), data, length);
}

static int seek_stream(void *cookie, off64_t *offset, int whence)
{
    (void)cookie, (void)offset, (void)whence;
    errno = ESPIPE;
    return -1;
}

static int close_stream(void *cookie)
{
    return close(number(cookie));
}

// A socket that is not connected yet may be delayed by the time that the stream is used.
static bool may_be_delayed(int fd)
{
    return delayed_find(fd) || (descriptor_tracked(fd) && socket_state(fd) == STATE_CLOSE);
}

FILE *hook_fdopen(int fd, const char *mode)
{
    static const cookie_io_functions_t calls = {read_stream, write_stream, seek_stream, close_stream};
    if (!may_be_delayed(fd))
        return original_fdopen(fd, mode);
    FILE *stream = fopencookie((void *)(intptr_t)fd, mode, calls);
    if (stream)
        stream->_fileno = fd; // fileno() gives it out, and nothing in a stream of ours uses it
    return stream;
}

// A stream that the program reopens keeps its number, if it can; stderr's is where our lines go.
FILE *hook_freopen(const char *path, const char *mode, FILE *stream)
{
    FILE *moved = original_freopen(path, mode, stream);
    if (moved)
        log_descriptor_replaced(moved->_fileno, true);
    return moved;
}

extern int __vsnprintf_chk(char *text, size_t size, int flag, size_t object_size, const char *format, va_list arguments);

int hook___vdprintf_chk(int fd, int flag, const char *format, va_list arguments)
{
    char near[1024], *text = near;
    va_list again;
    if (!delayed_find(fd))
        return original___vdprintf_chk(fd, flag, format, arguments);
    va_copy(again, arguments);
    int length = __vsnprintf_chk(near, sizeof(near), flag, sizeof(near), format, arguments);
    size_t size = (size_t)length + 1;
    if (length >= (int)sizeof(near)) {
        text = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (text != MAP_FAILED)
            __vsnprintf_chk(text, size, flag, size, format, again);
    }
    va_end(again);
    if (length < 0 || text == MAP_FAILED)
        return -1;
    if (write_all(fd, text, (size_t)length) < length)
        length = -1;
    if (text != near)
        munmap(text, size);
    return length;
}

int hook_vdprintf(int fd, const char *format, va_list arguments)
{
    return hook___vdprintf_chk(fd, 0, format, arguments);
}
