// Reaches a server that others cannot see: client ADDRESS PORT SECRET WORDS [protect]
// With `protect`, the token covers the words, and nobody on the way can put others in their place.
#include "knock.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 5 && !(argc == 6 && strcmp(argv[5], "protect") == 0)) {
        fprintf(stderr, "usage: %s ADDRESS PORT SECRET WORDS [protect]\n", argv[0]);
        return 2;
    }
    const char *words = argv[4];
    struct addrinfo *where = numeric_address(argv[1], argv[2]);
    int server = stealth_socket(where, argv[3]);
    if (argc == 6 && setsockopt(server, IPPROTO_TCP, TCP_STEALTH_INTEGRITY, words, (socklen_t)strlen(words)) < 0) {
        perror("TCP_STEALTH_INTEGRITY");
        return 1;
    }
    if (connect(server, where->ai_addr, where->ai_addrlen) < 0) {
        perror("connect");
        return 1;
    }
    if (write(server, words, strlen(words)) < 0) {
        perror("write");
        return 1;
    }
    char answer[512];
    ssize_t length;
    while ((length = read(server, answer, sizeof(answer))) > 0)
        fwrite(answer, 1, (size_t)length, stdout);
    if (length < 0) {
        perror("read");
        return 1;
    }
    return 0;
}
