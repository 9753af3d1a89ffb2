/* Computes the AV of what lies in the packet, as a BPF program: struct token_input, see token.test.ts. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "token.h"
#include "token_input.h"

SEC("tc")
int token(struct __sk_buff *skb) {
  struct token_input input;

  if (bpf_skb_load_bytes(skb, 0, &input, sizeof(input))) return 0;
  return knock_authenticator(input.secret, input.address, input.tsval, input.port, input.integrity_hash);
}

char license_text[] SEC("license") = "GPL";
