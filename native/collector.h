/* What libbpf's ring_buffer__new() calls for each record: JavaScript reads them afterwards, all at once. */
#ifndef KNOCKIFY_COLLECTOR_H
#define KNOCKIFY_COLLECTOR_H

#include "sys.h"

#include <stddef.h>
#include <stdint.h>

/* Mirrored in ts/sys/ringBuffer.ts. The records follow it, one behind the other. */
struct knk_collection {
  uint32_t room;
  uint32_t filled;
};

/* A pointer to a ring_buffer_sample_fn whose context is a struct knk_collection. What does not fit is left out. */
KNK_EXPORT void *knk_collector(void);

#endif
