// How long the library waits for the control process: KNOCK_TIMEOUT, in seconds.
#ifndef KNOCKIFY_PATIENCE_H
#define KNOCKIFY_PATIENCE_H

#include <stdint.h>

int64_t patience_ns(void);

// Looks for the setting in the rc file, which is open for reading, or -1.
void patience_read(int rc);

#endif
