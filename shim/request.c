#define _GNU_SOURCE
#include "request.h"

#include "environment.h"
#include "generated/originals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void request_append(struct request *request, const void *data, size_t length)
{
    request->parts[request->count++] = (struct iovec){.iov_base = (void *)data, .iov_len = length};
}

uint32_t settings_append_environment(struct request *request)
{
    static const char *const names[] = SETTING_VARIABLES;
    uint32_t length = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = environment(names[i]);
        if (!value)
            continue;
        request_append(request, names[i], strlen(names[i]));
        request_append(request, "=", 1);
        request_append(request, value, strlen(value) + 1);
        length += (uint32_t)(strlen(names[i]) + 1 + strlen(value) + 1);
    }
    return length;
}

bool settings_present(void)
{
    static const char *const names[] = SETTING_VARIABLES;
    if (environment("KNOCK_CONTROL") || environment("KNOCK_RC"))
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (environment(names[i]))
            return true;
    struct settings settings;
    settings_open_rc(&settings);
    settings_close_rc(&settings);
    return settings.rc_path[0] != '\0';
}

void settings_open_rc(struct settings *settings)
{
    const char *named = environment("KNOCK_RC"), *home = secure_getenv("HOME");
    *settings = (struct settings){.rc = -1};
    int length = 0;
    if (named && *named)
        length = snprintf(settings->rc_path, sizeof(settings->rc_path), "%s", named);
    else if (home && *home)
        length = snprintf(settings->rc_path, sizeof(settings->rc_path), "%s/.knockrc", home);
    if (length <= 0 || (size_t)length >= sizeof(settings->rc_path)) {
        settings->rc_error = length <= 0 ? 0 : ENAMETOOLONG;
        return;
    }
    settings->rc = open(settings->rc_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    settings->rc_error = settings->rc < 0 ? errno : 0;
    bool absent = settings->rc_error == ENOENT || settings->rc_error == ENOTDIR;
    // A server that dropped its privileges may no longer look into its old home: no reason to fail if it needs nothing there.
    bool dispensable = settings->rc_error == EACCES && environment("KNOCK_SECRET");
    if (!(named && *named) && (absent || dispensable)) {
        settings->rc_path[0] = '\0';
        settings->rc_error = 0;
    }
}

void settings_append_rc(struct request *request, const struct settings *settings)
{
    request_append(request, settings->rc_path, strlen(settings->rc_path));
    if (settings->rc >= 0)
        request->descriptors[request->descriptor_count++] = settings->rc;
}

void settings_close_rc(struct settings *settings)
{
    if (settings->rc >= 0)
        original_close(settings->rc);
}
