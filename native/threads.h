/* Threads for what may take as long as somebody else likes. */
#ifndef KNOCKIFY_THREADS_H
#define KNOCKIFY_THREADS_H

/* Runs it in a detached thread, whose signals are the main thread's. 0 or -errno. */
int knk_thread(void *(*run)(void *), void *argument);

#endif
