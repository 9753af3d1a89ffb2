// The program's memory, which may not be there: a bad pointer is EFAULT, as the kernel has it, and no reason to crash.
#ifndef KNOCKIFY_MEMORY_H
#define KNOCKIFY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Each returns false with EFAULT where the program's pointer is bad, and keeps errno otherwise. One system call.
bool memory_read(void *to, const void *from, size_t length);
bool memory_write(void *to, const void *from, size_t length);

// False for a pointer that cannot be one, without a system call.
static inline bool memory_plausible(const void *pointer)
{
    static const uintptr_t lowest = 4096, beyond = (uintptr_t)1 << 47; // mmap_min_addr, TASK_SIZE
    return (uintptr_t)pointer >= lowest && (uintptr_t)pointer < beyond;
}

#endif
