#define _GNU_SOURCE
#include "patience.h"

#include "environment.h"
#include "generated/messages.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static const char name[] = "KNOCK_TIMEOUT";
static _Atomic int of_rc; // seconds; 0 where the rc file says nothing

// What is no number of seconds in range counts as not set: the control process says what is wrong with it. 0 for that.
static int seconds_of(const char *text)
{
    int seconds = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] != '\0')
        return 0;
    for (size_t i = 0; i < digits; i++)
        seconds = seconds * 10 + (text[i] - '0');
    return seconds <= LONGEST_TIMEOUT ? seconds : 0;
}

int64_t patience_ns(void)
{
    const char *text = environment(name);
    int seconds = text ? seconds_of(text) : 0;
    if (seconds == 0)
        seconds = atomic_load(&of_rc);
    return (int64_t)(seconds > 0 ? seconds : DEFAULT_TIMEOUT) * 1000000000;
}

// The form of an rc file's line is that of ts/config/rc.ts: blanks around key and value don't count.
static int seconds_in(char *line)
{
    static const char blanks[] = " \t";
    line += strspn(line, blanks);
    if (strncmp(line, name, sizeof(name) - 1) != 0)
        return 0;
    line += sizeof(name) - 1;
    line += strspn(line, blanks);
    if (*line++ != '=')
        return 0;
    line += strspn(line, blanks);
    line[strcspn(line, " \t\r")] = '\0';
    return seconds_of(line);
}

void patience_read(int rc)
{
    char text[256], line[64];
    size_t length = 0;
    int seconds = 0;
    ssize_t got;
    for (off_t at = 0; rc >= 0 && (got = pread(rc, text, sizeof(text), at)) > 0; at += got)
        for (ssize_t i = 0; i < got; i++)
            if (text[i] != '\n') {
                if (length < sizeof(line) - 1) // a line that is longer is another setting's
                    line[length++] = text[i];
            } else {
                line[length] = '\0';
                seconds = seconds > 0 ? seconds : seconds_in(line);
                length = 0;
            }
    line[length] = '\0';
    atomic_store(&of_rc, seconds > 0 ? seconds : seconds_in(line));
    explicit_bzero(text, sizeof(text)); // the secret may stand there
    explicit_bzero(line, sizeof(line));
}
