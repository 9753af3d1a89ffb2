// Lines for the user on stderr. Levels as KNOCK_LOGLVL has them: 1 errors, 2 notices, 3 everything.
#ifndef KNOCKIFY_LOG_H
#define KNOCKIFY_LOG_H

enum log_level { LOG_ERRORS = 1, LOG_NOTICES = 2, LOG_TRACE = 3, LOG_UNKNOWN = 255 };

// One line, one write; errno is kept. Silent where descriptor 2 is no longer a place for messages.
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

// What the control process found KNOCK_LOGLVL to be for this program.
void log_set_level(unsigned int level);

#endif
