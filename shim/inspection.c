#define _GNU_SOURCE
#include "inspection.h"

#include "../native/bpf/token.h"
#include "generated/originals.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum {
    BLOCK = 64, // of MD5, bytes; a secret is one
    LENGTH_FIELD = 8,
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    TCP_SEQUENCE = 4, // offset
    SAVED_SYN = 1024, // longer than the longest headers
};

void inspection_expect(struct descriptor *entry, const struct verdict *verdict)
{
    entry->inspect = verdict->head.follow;
    entry->inspection.protected_length = verdict->head.protected_length;
    memcpy(entry->inspection.midstate, verdict->head.midstate, sizeof(entry->inspection.midstate));
}

static void hash_block(const uint8_t *bytes, uint32_t state[4])
{
    uint32_t words[BLOCK / 4];
    memcpy(words, bytes, sizeof(words));
    for (size_t i = 0; i < BLOCK / 4; i++)
        words[i] = KNOCK_LE32(words[i]);
    knock_md5_block(words, state);
}

// `buffer` holds the protected bytes and has room for two blocks more.
static uint16_t integrity_hash(const struct inspection *inspection, uint8_t *buffer)
{
    uint32_t state[4], length = inspection->protected_length;
    uint64_t bits = KNOCK_LE64((uint64_t)(BLOCK + length) * 8);
    size_t end = (length + LENGTH_FIELD) / BLOCK * BLOCK + BLOCK;
    for (size_t i = 0; i < 4; i++)
        state[i] = KNOCK_LE32(inspection->midstate[i]);
    memset(buffer + length, 0, end - length);
    buffer[length] = 0x80;
    memcpy(buffer + end - LENGTH_FIELD, &bits, LENGTH_FIELD);
    for (size_t at = 0; at < end; at += BLOCK)
        hash_block(buffer + at, state);
    // The digest's bytes are those of the words, little-endian; what is combined of them are big-endian halves.
    uint32_t all = state[0] ^ state[1] ^ state[2] ^ state[3];
    uint16_t halves = (uint16_t)(all ^ all >> 16);
    return (uint16_t)(halves << 8 | halves >> 8);
}

// The lower half of the ISN. The kernel gives its copy of the headers away, once.
static bool saved_hash(int fd, uint16_t *hash)
{
    uint8_t headers[SAVED_SYN];
    socklen_t size = sizeof(headers);
    if (original_getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, headers, &size) < 0 || size < IPV4_HEADER)
        return false;
    size_t start = headers[0] >> 4 == 4 ? (headers[0] & 0xf) * 4u : IPV6_HEADER;
    // Extension headers are for the control process to walk through.
    if ((headers[0] >> 4 != 4 && (headers[0] >> 4 != 6 || headers[6] != IPPROTO_TCP)) || size < start + TCP_SEQUENCE + 4)
        return false;
    *hash = (uint16_t)(headers[start + TCP_SEQUENCE + 2] << 8 | headers[start + TCP_SEQUENCE + 3]);
    return true;
}

static bool came_in_one_segment(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    return original_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_data_segs_in == 1;
}

// The listener's filter, which the socket inherited, keeps a record of first segments and would cost every later one a
// look-up. One of the program's own is classic, which the kernel would show.
static void drop_filter(int fd)
{
    int unused = 0;
    socklen_t size = 0;
    if (original_getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &size) < 0 && errno == EACCES)
        original_setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused));
}

bool inspection_plain(int fd, const struct inspection *inspection)
{
    uint8_t buffer[MAX_PROTECTED_LENGTH + 2 * BLOCK];
    uint32_t length = inspection->protected_length;
    uint16_t hash;
    int error = errno;
    bool plain = length > 0 && length <= MAX_PROTECTED_LENGTH && came_in_one_segment(fd) &&
                 original_recv(fd, buffer, length, MSG_PEEK | MSG_DONTWAIT) == (ssize_t)length && saved_hash(fd, &hash) &&
                 integrity_hash(inspection, buffer) == hash;
    if (plain)
        drop_filter(fd);
    errno = error;
    return plain;
}
