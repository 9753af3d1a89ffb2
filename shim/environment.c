// The KNOCK_ variables, also in a program that throws its environment away as nginx's workers do.
#define _GNU_SOURCE
#include "environment.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

static const char prefix[] = "KNOCK_";

// NAME=VALUE strings, and an empty one at the end.
static const char *remembered = "";

// Copies: a program that changes its title writes over what it was started with.
__attribute__((constructor)) static void remember(void)
{
    size_t sum = 1;
    if (getauxval(AT_SECURE) || !environ)
        return;
    for (char **entry = environ; *entry; entry++)
        if (strncmp(*entry, prefix, sizeof(prefix) - 1) == 0)
            sum += strlen(*entry) + 1;
    char *copy = sum > 1 ? mmap(NULL, sum, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (copy == MAP_FAILED)
        return;
    remembered = copy;
    for (char **entry = environ; *entry; entry++)
        if (strncmp(*entry, prefix, sizeof(prefix) - 1) == 0)
            copy = stpcpy(copy, *entry) + 1;
}

const char *environment(const char *name)
{
    const char *value = secure_getenv(name);
    size_t length = strlen(name);
    for (const char *entry = remembered; !value && *entry; entry += strlen(entry) + 1)
        if (strncmp(entry, name, length) == 0 && entry[length] == '=')
            value = entry + length + 1;
    return value;
}
