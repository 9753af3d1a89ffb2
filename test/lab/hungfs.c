/* A file system in user space that answers when it likes, which is never: `DIRECTORY COMMAND...` mounts it there and runs the
 * command, and with that it ends; at SIGUSR1 it lets go of whoever hangs, and answers nobody any more. Every name is that of a regular file of mode 0600, of user and group 65534. What an open file
 * hangs in goes by its name: `stat...`, `read...`, `direct...` (reads past the page cache), `flush...` (closes, but for those of
 * the command). All hold "KNOCK_SECRET=fine\n", but for `slow...`, which has a GiB of nothing, and each read of it takes 4 ms.
 *
 * In a mount namespace of its own. Needs root, and nothing but /dev/fuse. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NAMES = 256, NOBODY = 65534, SLOW_SIZE = 1 << 30, SLOW_US = 4000, MOST_READ = 1 << 17 };

static const char contents[] = "KNOCK_SECRET=fine\n";

/* By node; 1 is the root. */
static char names[NAMES][64];
static bool opened[NAMES];
static uint64_t last = FUSE_ROOT_ID;
static pid_t command, server;

static bool starts(uint64_t node, const char *with) {
  return node > FUSE_ROOT_ID && node < NAMES && strncmp(names[node], with, strlen(with)) == 0;
}

static bool hangs(const struct fuse_in_header *request) {
  uint64_t node = request->nodeid;

  switch (request->opcode) {
    case FUSE_GETATTR:
      return starts(node, "stat") && opened[node];
    case FUSE_READ:
      return starts(node, "read") || starts(node, "direct");
    case FUSE_FLUSH:
      return starts(node, "flush") && request->pid != (uint32_t)command;
    default:
      return false;
  }
}

static struct fuse_attr attributes(uint64_t node) {
  struct fuse_attr attr = {.ino = node, .uid = NOBODY, .gid = NOBODY, .nlink = 1, .blksize = 4096};

  attr.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0600;
  attr.size = node == FUSE_ROOT_ID ? 0 : starts(node, "slow") ? SLOW_SIZE : sizeof(contents) - 1;
  return attr;
}

static void reply(int device, const struct fuse_in_header *request, int error, const void *body, size_t length) {
  static char answer[MOST_READ + 64];
  struct fuse_out_header header = {.error = error, .unique = request->unique};

  header.len = (uint32_t)(sizeof(header) + (error ? 0 : length));
  memcpy(answer, &header, sizeof(header));
  if (!error && length) memcpy(answer + sizeof(header), body, length);
  /* Who asked may be gone. */
  if (write(device, answer, header.len) < 0 && errno != ENOENT) exit(0);
}

static uint64_t node_of(const char *name) {
  for (uint64_t node = FUSE_ROOT_ID + 1; node <= last; node++)
    if (strcmp(names[node], name) == 0) return node;
  if (last + 1 >= NAMES) return 0;
  snprintf(names[++last], sizeof(names[0]), "%s", name);
  return last;
}

static void answer(int device, const struct fuse_in_header *request) {
  const void *body = request + 1;

  switch (request->opcode) {
    case FUSE_INIT: {
      const struct fuse_init_in *in = body;
      struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096};
      out.max_readahead = in->max_readahead;
      out.flags = FUSE_ASYNC_READ;
      return reply(device, request, 0, &out, sizeof(out));
    }
    case FUSE_LOOKUP: {
      uint64_t node = node_of(body);
      struct fuse_entry_out out = {.nodeid = node, .entry_valid = 3600, .attr = attributes(node)};
      return reply(device, request, node ? 0 : -ENOENT, &out, sizeof(out));
    }
    case FUSE_GETATTR: {
      struct fuse_attr_out out = {.attr = attributes(request->nodeid)};
      return reply(device, request, 0, &out, sizeof(out));
    }
    case FUSE_OPEN: {
      struct fuse_open_out out = {.open_flags = starts(request->nodeid, "direct") ? FOPEN_DIRECT_IO : 0};
      opened[request->nodeid] = true;
      return reply(device, request, 0, &out, sizeof(out));
    }
    case FUSE_READ: {
      const struct fuse_read_in *in = body;
      if (starts(request->nodeid, "slow")) {
        static const char nothing[MOST_READ];
        usleep(SLOW_US);
        /* Less would be the file's end. */
        return reply(device, request, 0, nothing, in->size < MOST_READ ? in->size : MOST_READ);
      }
      size_t length = in->offset < sizeof(contents) - 1 ? sizeof(contents) - 1 - in->offset : 0;
      return reply(device, request, 0, contents + (length ? in->offset : 0), length);
    }
    case FUSE_FLUSH:
    case FUSE_RELEASE:
      return reply(device, request, 0, NULL, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      return;
    default:
      return reply(device, request, -ENOSYS, NULL, 0);
  }
}

static void serve(int device) {
  static char buffer[FUSE_MIN_READ_BUFFER + 8192] __attribute__((aligned(8)));

  for (;;) {
    ssize_t length = read(device, buffer, sizeof(buffer));
    if (length < 0 && (errno == ENODEV || errno == EBADF)) exit(0);
    if (length < (ssize_t)sizeof(struct fuse_in_header)) continue;
    const struct fuse_in_header *request = (void *)buffer;
    if (!hangs(request)) answer(device, request);
  }
}

static void end(int number) {
  (void)number;
  kill(server, SIGKILL);
  kill(command, SIGKILL);
}

static void let_go(int number) {
  (void)number;
  kill(server, SIGKILL);
}

static int fail(const char *what) {
  perror(what);
  return 2;
}

int main(int argc, char **argv) {
  char options[128];

  if (argc < 3) return 2;
  int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0) return fail("/dev/fuse");
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return fail("unshare");
  snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
  if (mount("hung", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) return fail("mount");
  signal(SIGTERM, end);
  command = fork();
  if (command == 0) {
    signal(SIGTERM, SIG_DFL);
    execvp(argv[2], argv + 2);
    _exit(127);
  }
  server = fork();
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTERM, SIG_DFL);
    serve(device);
  }
  signal(SIGUSR1, let_go);
  /* Whoever still waits when the server is gone gets an error. */
  close(device);
  int status = 0;
  while (waitpid(command, &status, 0) < 0 && errno == EINTR) continue;
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
