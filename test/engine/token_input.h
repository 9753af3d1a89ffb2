#include <linux/types.h>

struct token_input {
  __u32 secret[16];
  __u32 address[4];
  __u32 tsval;
  __u16 port;
  __u16 integrity_hash;
};
