#define _GNU_SOURCE
#include "named_calls.h"

#include "sys.h"

#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int knk_failing(char *failed, const char *call, int result) {
  if (result < 0) strncpy(failed, call, KNK_CALL_NAME - 1);
  return result;
}

int knk_get_named(char *failed, const char *call, int fd, int level, int name, void *value, int length) {
  return knk_failing(failed, call, knk_getsockopt(fd, level, name, value, length));
}

int knk_set_named(char *failed, const char *call, int fd, int level, int name, uint32_t value) {
  return knk_failing(failed, call, knk_setsockopt(fd, level, name, &value, sizeof(value)));
}

int knk_tcp_state(char *failed, int fd, uint32_t *state) {
  uint8_t first = 0;

  TRY(knk_get_named(failed, "getsockopt(TCP_INFO)", fd, IPPROTO_TCP, TCP_INFO, &first, sizeof(first)));
  *state = first;
  return 0;
}

static int map_call(int command, int map, const int *fd, const void *value, uint64_t flags) {
  union bpf_attr attributes;

  memset(&attributes, 0, sizeof(attributes));
  attributes.map_fd = (uint32_t)map;
  attributes.key = (uintptr_t)fd;
  attributes.value = (uintptr_t)value;
  attributes.flags = flags;
  return syscall(SYS_bpf, command, &attributes, sizeof(attributes)) < 0 ? -errno : 0;
}

int knk_read_storage(char *failed, int map, int fd, void *value) {
  int result = map_call(BPF_MAP_LOOKUP_ELEM, map, &fd, value, BPF_ANY);

  return result == -ENOENT ? 0 : knk_failing(failed, "bpf_map_lookup_elem", result < 0 ? result : 1);
}

int knk_read_mark(char *failed, int map, int fd, struct knock_socket *mark) {
  memset(mark, 0, sizeof(*mark));
  return knk_read_storage(failed, map, fd, mark);
}

int knk_write_mark(char *failed, int map, int fd, const struct knock_socket *mark, uint64_t flags) {
  return knk_failing(failed, "bpf_map_update_elem", map_call(BPF_MAP_UPDATE_ELEM, map, &fd, mark, flags));
}

int knk_erase_mark(char *failed, int map, int fd) {
  int erased = map_call(BPF_MAP_DELETE_ELEM, map, &fd, NULL, 0);

  return erased == -ENOENT ? 0 : knk_failing(failed, "bpf_map_delete_elem", erased);
}
