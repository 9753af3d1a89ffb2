// Lines for the user on stderr. Levels as KNOCK_LOGLVL has them: 1 errors, 2 notices, 3 everything.
#ifndef KNOCKIFY_LOG_H
#define KNOCKIFY_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERRORS = 1, LOG_NOTICES = 2, LOG_TRACE = 3, LOG_UNKNOWN = 255 };

// One line, one write; errno is kept. Silent where descriptor 2 is no longer a place for messages.
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

// A descriptor is another one from now on: deliberately, as by dup2 and freopen, or by chance, as a new socket that got the
// number. Lines go to descriptor 2 only if it is what it was at the start, or was replaced deliberately. One store.
void log_descriptor_replaced(int fd, bool deliberately);

// What the control process found KNOCK_LOGLVL to be for this program.
void log_set_level(unsigned int level);

#endif
