// Settings that the program was started with.
#ifndef KNOCKIFY_ENVIRONMENT_H
#define KNOCKIFY_ENVIRONMENT_H

// A KNOCK_ variable as it is now, or as it was at the start where the program has it no more; NULL for none, and always
// NULL in a set-user-id program.
const char *environment(const char *name);

#endif
