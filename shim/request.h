// One datagram in the making, and the settings that go with it.
#ifndef KNOCKIFY_REQUEST_H
#define KNOCKIFY_REQUEST_H

#include "generated/messages.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

enum {
    MAX_DESCRIPTORS = 2,
    MAX_PARTS = 32, // the struct, and three pieces for each setting
};

struct request {
    struct iovec parts[MAX_PARTS];
    size_t count;
    int descriptors[MAX_DESCRIPTORS];
    size_t descriptor_count;
};

void request_append(struct request *request, const void *data, size_t length);

// The rc file, opened with the program's rights.
struct settings {
    char rc_path[MAX_CONNECT_RC_PATH]; // empty if there is none
    int rc;                            // descriptor, or -1
    int32_t rc_error;                  // errno of opening it
};

// Appends the environment's settings as KEY=VALUE texts, without copying them; returns their length in bytes.
uint32_t settings_append_environment(struct request *request);

// Whether the user has set anything for this program. Looks, if need be, whether there is an rc file.
bool settings_present(void);

void settings_open_rc(struct settings *settings);
void settings_append_rc(struct request *request, const struct settings *settings);
void settings_close_rc(struct settings *settings);

#endif
