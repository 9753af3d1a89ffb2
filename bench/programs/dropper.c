/* A listener whose guard is the shortest program there is. What the kernel takes to run any guard.
 *
 *   dropper PORT [pass]
 *
 * The program drops everything; with `pass`, nothing, and each connection is reset when it is accepted. Prints its id.
 */
#define _GNU_SOURCE
#include <err.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load(int verdict) {
  struct bpf_insn always[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict},
      {.code = BPF_JMP | BPF_EXIT},
  };
  union bpf_attr attributes;

  memset(&attributes, 0, sizeof(attributes));
  attributes.prog_type = BPF_PROG_TYPE_SK_REUSEPORT;
  attributes.insns = (uintptr_t)always;
  attributes.insn_cnt = sizeof(always) / sizeof(*always);
  attributes.license = (uintptr_t) "GPL";
  return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
}

static unsigned int id_of(int program) {
  struct bpf_prog_info info = {0};
  union bpf_attr attributes;

  memset(&attributes, 0, sizeof(attributes));
  attributes.info.bpf_fd = (uint32_t)program;
  attributes.info.info_len = sizeof(info);
  attributes.info.info = (uintptr_t)&info;
  if (syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attributes, sizeof(attributes)) < 0) err(1, "BPF_OBJ_GET_INFO_BY_FD");
  return info.id;
}

int main(int argc, char **argv) {
  struct sockaddr_in here = {.sin_family = AF_INET};
  int on = 1;
  const bool passes = argc == 3 && strcmp(argv[2], "pass") == 0;
  if (argc != 2 && !passes) errx(2, "PORT [pass]");
  here.sin_port = htons((uint16_t)atoi(argv[1]));

  int program = load(passes ? SK_PASS : SK_DROP);
  if (program < 0) err(1, "BPF_PROG_LOAD");
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0) err(1, "bind");
  setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  if (setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof(program)) < 0) err(1, "attach");
  if (listen(listener, 4096) < 0) err(1, "listen");
  printf("%u\n", id_of(program));
  fflush(stdout);
  while (passes) {
    struct linger reset = {.l_onoff = 1};
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) err(1, "accept");
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
  }
  pause();
  return 0;
}
