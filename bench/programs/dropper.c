/* A listener whose guard is the shortest program there is: it drops everything. What the kernel takes to run any guard.
 *
 *   dropper PORT
 *
 * Prints the program's id.
 */
#define _GNU_SOURCE
#include <err.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load(void) {
  struct bpf_insn drop[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = SK_DROP},
      {.code = BPF_JMP | BPF_EXIT},
  };
  union bpf_attr attributes;

  memset(&attributes, 0, sizeof(attributes));
  attributes.prog_type = BPF_PROG_TYPE_SK_REUSEPORT;
  attributes.insns = (uintptr_t)drop;
  attributes.insn_cnt = sizeof(drop) / sizeof(*drop);
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
  if (argc != 2) errx(2, "PORT");
  here.sin_port = htons((uint16_t)atoi(argv[1]));

  int program = load();
  if (program < 0) err(1, "BPF_PROG_LOAD");
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0) err(1, "bind");
  setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  if (setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof(program)) < 0) err(1, "attach");
  if (listen(listener, 16) < 0) err(1, "listen");
  printf("%u\n", id_of(program));
  fflush(stdout);
  pause();
  return 0;
}
