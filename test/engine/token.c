/* The same as token.bpf.c as an ordinary program: standard input to standard output. */
#include <stdio.h>

#include "token.h"
#include "token_input.h"

int main(void) {
  struct token_input input;

  if (fread(&input, sizeof(input), 1, stdin) != 1) return 1;
  printf("%u\n", knock_authenticator(input.secret, input.address, input.tsval, input.port, input.integrity_hash));
  return 0;
}
